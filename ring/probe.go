package ring

// Feature is one thing the system below may offer a loop.
type Feature struct {
	Name  string `json:"name"`          // the kernel's word for it, or a description
	Since string `json:"since"`         // first version of mainline Linux that has it
	Need  bool   `json:"need"`          // the io_uring back end cannot do without
	State string `json:"state"`         // yes, no or unknown
	Why   string `json:"why,omitempty"` // the reason of no and unknown
}
