package invariants

// PoisonByte is what Poison fills with. 0xdb repeated is no length a format of ours
// accepts and stands out in a dump.
const PoisonByte = 0xdb

// Poison overwrites b in a build that checks invariants or has the race detector. It
// is called on memory nobody may read any more: a late reader then sees garbage, and
// under the race detector its read conflicts with this write.
func Poison(b []byte) {
	if !Enabled && !Race {
		return
	}
	fill(b)
}

// fill doubles a filled front: the race detector notes a copy as one range, where a
// loop would cost it a call per byte.
func fill(b []byte) {
	if len(b) == 0 {
		return
	}
	b[0] = PoisonByte
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

// Poisoned reports whether b is not empty and wholly as Poison left it.
func Poisoned(b []byte) bool {
	for _, c := range b {
		if c != PoisonByte {
			return false
		}
	}
	return len(b) > 0
}
