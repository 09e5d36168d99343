package uring

import (
	"errors"
	"syscall"

	"github.com/kcm-go/kcm/internal/uapi"
)

// trial is a feature with the way to try it. A nil error means yes; errNo, EINVAL,
// ENOSYS, EOPNOTSUPP and their like mean no, any other error leaves the question
// open.
type trial struct {
	name  string
	since string
	need  bool
	try   func(*prober) error
}

// errNo is the answer of a kernel that reports what it has and lacks this.
var errNo = errors.New("not reported by the kernel")

// trials in the order of the report. The first decides whether the rest can be
// tried at all.
var trials = [...]trial{
	{"io_uring", "5.1", true, (*prober).open},

	{"SINGLE_ISSUER", "6.0", true, setup(uapi.IORING_SETUP_SINGLE_ISSUER)},
	{"DEFER_TASKRUN", "6.1", true, setup(uapi.IORING_SETUP_DEFER_TASKRUN | uapi.IORING_SETUP_SINGLE_ISSUER)},
	{"TASKRUN_FLAG", "5.19", true, setup(uapi.IORING_SETUP_TASKRUN_FLAG | uapi.IORING_SETUP_COOP_TASKRUN)},
	{"SUBMIT_ALL", "5.18", true, setup(uapi.IORING_SETUP_SUBMIT_ALL)},
	{"R_DISABLED", "5.10", true, setup(uapi.IORING_SETUP_R_DISABLED)},
	{"NO_SQARRAY", "6.6", false, setup(uapi.IORING_SETUP_NO_SQARRAY)},
	{"CQE_MIXED", "6.18", false, setup(uapi.IORING_SETUP_CQE_MIXED)},

	{"NODROP", "5.5", true, reported(uapi.IORING_FEAT_NODROP)},
	{"SUBMIT_STABLE", "5.5", true, reported(uapi.IORING_FEAT_SUBMIT_STABLE)},
	{"FAST_POLL", "5.7", true, reported(uapi.IORING_FEAT_FAST_POLL)},
	{"EXT_ARG", "5.11", true, reported(uapi.IORING_FEAT_EXT_ARG)},
	{"CQE_SKIP", "5.17", true, reported(uapi.IORING_FEAT_CQE_SKIP)},
	{"MIN_TIMEOUT", "6.12", false, reported(uapi.IORING_FEAT_MIN_TIMEOUT)},
	{"NO_IOWAIT", "6.15", false, reported(uapi.IORING_FEAT_NO_IOWAIT)},

	{"multishot accept", "5.19", true, (*prober).multishotAccept},
	{"multishot recv", "6.0", true, func(p *prober) error { return p.multishotRecv(0, 0) }},
	{"recv bundles", "6.10", false, func(p *prober) error { return p.multishotRecv(uapi.IORING_RECVSEND_BUNDLE, 0) }},
	{"recv limit", "6.17", false, func(p *prober) error { return p.multishotRecv(0, 64) }},
	{"SEND_ZC", "6.0", false, operation(uapi.IORING_OP_SEND_ZC)},
	{"MSG_RING", "5.18", false, operation(uapi.IORING_OP_MSG_RING)},
	{"ring wake", "6.13", false, (*prober).ringWake},

	{"buffer ring", "5.19", true, func(p *prober) error { return p.bufRing(0) }},
	{"incremental buffers", "6.12", false, func(p *prober) error { return p.bufRing(uapi.IOU_PBUF_RING_INC) }},
	{"fixed buffers", "5.1", false, (*prober).fixedBuffers},
	{"fixed files", "5.1", false, (*prober).fixedFiles},
	{"registered ring", "5.18", false, (*prober).registeredRing},
	{"synchronous cancel", "6.0", true, (*prober).syncCancel},
	{"REGISTER_QUERY", "6.18", false, func(*prober) error { _, err := uapi.Query(); return err }},
}

func probe() []Feature {
	var p prober
	defer p.close()
	list := make([]Feature, len(trials))
	for i, t := range trials {
		f := &list[i]
		*f = Feature{Name: t.name, Since: t.since, Need: t.need}
		if i > 0 && list[0].State != Yes {
			f.Why = "io_uring is not available"
			continue
		}
		err := t.try(&p)
		f.State, f.Why = verdict(err)
		if i == 0 && err != nil {
			f.Why = Explain(err)
		}
	}
	return list
}

// verdict turns the outcome of a trial into an answer.
func verdict(err error) (State, string) {
	if err == nil {
		return Yes, ""
	}
	why := err.Error()
	for _, no := range []error{errNo, syscall.EINVAL, syscall.ENOSYS, syscall.EOPNOTSUPP, syscall.ENOTTY} {
		if errors.Is(err, no) {
			return No, why
		}
	}
	return Unknown, why
}
