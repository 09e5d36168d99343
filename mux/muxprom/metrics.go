package muxprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// metric is one figure of T.
type metric[T any] struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*T) float64
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

type muxStats = mux.Stats

// muxMetrics are the figures of a Mux: each number of mux.Stats is one of them, but for the
// delays, which are a histogram.
var muxMetrics = []metric[muxStats]{
	{"kcm_mux_connections_opened_total", "Connections since the start.", counter, func(s *muxStats) float64 { return float64(s.Opened) }},
	{"kcm_mux_connections_closed_total", "Connections that have ended.", counter, func(s *muxStats) float64 { return float64(s.Closed) }},
	{"kcm_mux_connections", "Connections open now.", gauge, func(s *muxStats) float64 { return float64(s.Psocks) }},
	{"kcm_mux_connections_refused_total", "Connections closed on arrival because there were too many.", counter, func(s *muxStats) float64 { return float64(s.Refused) }},
	{"kcm_mux_received_messages_total", "Messages that parsers delivered.", counter, func(s *muxStats) float64 { return float64(s.RxMessages) }},
	{"kcm_mux_received_bytes_total", "Bytes of streams that parsers consumed.", counter, func(s *muxStats) float64 { return float64(s.RxBytes) }},
	{"kcm_mux_dropped_messages_total", "Messages that a handler said Drop of.", counter, func(s *muxStats) float64 { return float64(s.RxDrops) }},
	{"kcm_mux_sent_messages_total", "Messages queued for connections, or taken whole by them from sockets.", counter, func(s *muxStats) float64 { return float64(s.TxMessages) }},
	{"kcm_mux_sent_bytes_total", "Bytes of these messages.", counter, func(s *muxStats) float64 { return float64(s.TxBytes) }},
	{"kcm_mux_lost_messages_total", "Messages taken by Send that the kernel did not accept wholly.", counter, func(s *muxStats) float64 { return float64(s.LostMessages) }},
	{"kcm_mux_lost_bytes_total", "Bytes queued by Send that the kernel did not accept.", counter, func(s *muxStats) float64 { return float64(s.LostBytes) }},
	{"kcm_mux_pauses_total", "Times a connection was made to wait, for an out queue or for readers.", counter, func(s *muxStats) float64 { return float64(s.Pauses) }},
	{"kcm_mux_parks_total", "Times a connection was made to wait because a message found no room with readers.", counter, func(s *muxStats) float64 { return float64(s.Parks) }},
	{"kcm_mux_retried_messages_total", "Times messages of sockets began again on another connection.", counter, func(s *muxStats) float64 { return float64(s.TxRetries) }},
	{"kcm_mux_sent_discarded_messages_total", "Messages of sockets discarded by the end of their socket.", counter, func(s *muxStats) float64 { return float64(s.TxDiscarded) }},
	{"kcm_mux_sending_aborts_total", "Connections for sockets that ended for a cause or inside a message.", counter, func(s *muxStats) float64 { return float64(s.TxAborts) }},
	{"kcm_mux_reservations_total", "Times a socket reserved a connection, for a burst each.", counter, func(s *muxStats) float64 { return float64(s.Reserved) }},
	{"kcm_mux_reservations_ended_total", "Reservations that have ended.", counter, func(s *muxStats) float64 { return float64(s.Unreserved) }},
	{"kcm_mux_unsent_messages", "Messages of sockets that wait to be sent now.", gauge, func(s *muxStats) float64 { return float64(s.Unsent) }},
	{"kcm_mux_unattached_connections_total", "Connections given back by Detach or Unattach.", counter, func(s *muxStats) float64 { return float64(s.Unattached) }},
	{"kcm_mux_unattached_reserved_connections_total", "Connections given back by Unattach while a socket was sending on them.", counter, func(s *muxStats) float64 { return float64(s.UnattachedReserved) }},
	{"kcm_mux_unattached_messages_total", "Messages that Unattach dropped because they were parked.", counter, func(s *muxStats) float64 { return float64(s.RxReadyDrops) }},
	{"kcm_mux_handled_messages_total", "Messages handled by readers, dropped behind an End, or in hands by Recv.", counter, func(s *muxStats) float64 { return float64(s.Received) }},
	{"kcm_mux_rejected_messages_total", "Messages that OnReject got because they had waited too long.", counter, func(s *muxStats) float64 { return float64(s.Rejected) }},
	{"kcm_mux_slow_calls_total", "Calls of Work functions that took longer than SlowHandler.", counter, func(s *muxStats) float64 { return float64(s.Slow) }},
	{"kcm_mux_stolen_batches_total", "Times a reader joined another one's batch.", counter, func(s *muxStats) float64 { return float64(s.Stolen) }},
	{"kcm_mux_partly_read_messages_total", "Messages dropped because their socket was closed when a part of them had been read.", counter, func(s *muxStats) float64 { return float64(s.RxDropped) }},
	{"kcm_mux_discarded_messages_total", "Messages dropped by Close before a reader had them.", counter, func(s *muxStats) float64 { return float64(s.Discarded) }},
	{"kcm_mux_queued_messages", "Messages that wait for readers now.", gauge, func(s *muxStats) float64 { return float64(s.Queued) }},
	{"kcm_mux_delay_max_seconds", "The longest time a message waited for a reader, in seconds.", gauge, func(s *muxStats) float64 { return s.Delay.Max.Seconds() }},

	{"kcm_mux_parser_messages_total", "Complete messages of parsers.", counter, func(s *muxStats) float64 { return float64(s.Parser.Messages) }},
	{"kcm_mux_parser_bytes_total", "Bytes of streams that parsers consumed.", counter, func(s *muxStats) float64 { return float64(s.Parser.Bytes) }},
	{"kcm_mux_parser_copied_bytes_total", "Bytes that parsers copied because they had to wait.", counter, func(s *muxStats) float64 { return float64(s.Parser.Copied) }},
	{"kcm_mux_parser_memory_failures_total", "Chunks that parsers left where they were for lack of memory.", counter, func(s *muxStats) float64 { return float64(s.Parser.MemFail) }},
	{"kcm_mux_parser_short_headers_total", "Times a parser needed more bytes to know a message's length.", counter, func(s *muxStats) float64 { return float64(s.Parser.NeedMoreHdr) }},
	{"kcm_mux_parser_too_big_messages_total", "Messages longer than MaxMessage (EMSGSIZE).", counter, func(s *muxStats) float64 { return float64(s.Parser.MsgTooBig) }},
	{"kcm_mux_parser_timeouts_total", "Messages that were not complete in time (ETIMEDOUT).", counter, func(s *muxStats) float64 { return float64(s.Parser.MsgTimeouts) }},
	{"kcm_mux_parser_bad_lengths_total", "Messages whose length cannot be right (EPROTO).", counter, func(s *muxStats) float64 { return float64(s.Parser.BadHdrLen) }},
	{"kcm_mux_parser_aborts_total", "Parsers that stopped because of an error.", counter, func(s *muxStats) float64 { return float64(s.Parser.Aborts) }},
	{"kcm_mux_parser_interrupted_total", "Parsers whose parse function returned an error.", counter, func(s *muxStats) float64 { return float64(s.Parser.Interrupted) }},
	{"kcm_mux_parser_unrecoverable_total", "Parsers that declined a message of which bytes were taken.", counter, func(s *muxStats) float64 { return float64(s.Parser.Unrecoverable) }},
}

type loopStats = ring.LoopStats

// loopMetrics are the figures of a loop: each number of ring.LoopStats.
var loopMetrics = []metric[loopStats]{
	{"kcm_loop_turns_total", "Passes of the loop.", counter, func(s *loopStats) float64 { return float64(s.Turns) }},
	{"kcm_loop_waits_total", "Times the back end was asked for events.", counter, func(s *loopStats) float64 { return float64(s.Waits) }},
	{"kcm_loop_system_calls_total", "System calls of the back end, not counting direct writes.", counter, func(s *loopStats) float64 { return float64(s.Syscalls) }},
	{"kcm_loop_sleeps_total", "Waits that may have slept.", counter, func(s *loopStats) float64 { return float64(s.Sleeps) }},
	{"kcm_loop_events_total", "Completions of operations.", counter, func(s *loopStats) float64 { return float64(s.Events) }},
	{"kcm_loop_received_bytes_total", "Bytes received.", counter, func(s *loopStats) float64 { return float64(s.BytesIn) }},
	{"kcm_loop_sent_bytes_total", "Bytes that the kernel accepted, those of direct writes included.", counter, func(s *loopStats) float64 { return float64(s.BytesOut) }},
	{"kcm_loop_direct_writes_total", "Writes that other goroutines made themselves, a system call each.", counter, func(s *loopStats) float64 { return float64(s.Direct) }},
	{"kcm_loop_accepted_connections_total", "Connections accepted.", counter, func(s *loopStats) float64 { return float64(s.Accepted) }},
	{"kcm_loop_opened_streams_total", "Streams attached or connected.", counter, func(s *loopStats) float64 { return float64(s.Opened) }},
	{"kcm_loop_closed_streams_total", "Streams closed or detached.", counter, func(s *loopStats) float64 { return float64(s.Closed) }},
	{"kcm_loop_starved_receives_total", "Receives that found no buffer.", counter, func(s *loopStats) float64 { return float64(s.Starved) }},
	{"kcm_loop_overflows_total", "Times the completion queue overflowed.", counter, func(s *loopStats) float64 { return float64(s.Overflows) }},
	{"kcm_loop_large_bodies_total", "Message bodies read into the large region.", counter, func(s *loopStats) float64 { return float64(s.Large) }},
	{"kcm_loop_evicted_queues_total", "Queues copied out of receive buffers because these were short.", counter, func(s *loopStats) float64 { return float64(s.Evicted) }},
	{"kcm_loop_received_datagrams_total", "Datagrams received.", counter, func(s *loopStats) float64 { return float64(s.DatagramsIn) }},
	{"kcm_loop_sent_datagrams_total", "Datagrams sent.", counter, func(s *loopStats) float64 { return float64(s.DatagramsOut) }},
	{"kcm_loop_dropped_datagrams_total", "Datagrams queued and not sent: refused by the system, or lost.", counter, func(s *loopStats) float64 { return float64(s.DatagramsDropped) }},
	{"kcm_loop_truncated_datagrams_total", "Datagrams longer than a receive buffer.", counter, func(s *loopStats) float64 { return float64(s.Truncated) }},
	{"kcm_loop_spin_hits_total", "Times the loop looked for work before sleeping and found some.", counter, func(s *loopStats) float64 { return float64(s.SpinHits) }},
	{"kcm_loop_spin_misses_total", "Times the loop looked for work before sleeping in vain.", counter, func(s *loopStats) float64 { return float64(s.SpinMisses) }},
	{"kcm_loop_receive_buffers", "Receive buffers there are.", gauge, func(s *loopStats) float64 { return float64(s.Buffers) }},
	{"kcm_loop_receive_buffers_free", "Receive buffers that nobody holds now.", gauge, func(s *loopStats) float64 { return float64(s.BuffersFree) }},
	{"kcm_loop_region_used_bytes", "Bytes of the large region in use now.", gauge, func(s *loopStats) float64 { return float64(s.RegionUsed) }},
	{"kcm_loop_private_used_bytes", "Bytes of private memory in use now.", gauge, func(s *loopStats) float64 { return float64(s.SpillUsed) }},
	{"kcm_loop_endpoints", "Streams and listeners open now.", gauge, func(s *loopStats) float64 { return float64(s.Streams) }},
}
