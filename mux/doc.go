// Package mux turns connections into messages: it reads any number of byte streams,
// cuts them into messages by a format, and hands each message to a function that may
// send it on without copying it.
//
// # The way of a message
//
//	kernel -> receive buffer -> stream -> parser -> Handler -> Send -> out queue -> kernel
//	          (package ring)             (strparser)   |       (the same, or another
//	                                                   |        connection's)
//	                                                   +-> Pass -> Socket -> workers -> Reply
//
// A connection inside a [Mux] is a [Psock]. It lives on one loop of package ring from
// beginning to end: there its bytes arrive, its parser runs, its messages are handled
// and its replies leave. Loops share nothing per message, so to receive one and send it
// on takes no lock, no system call of its own, no allocation and no change of
// goroutine. What is sent to one connection in one turn of its loop leaves together.
//
// Messages whose handling takes long, or waits, are passed to workers: goroutines that
// receive from a [Socket]. They change hands in batches, all that one connection
// delivered at once.
//
// # Use
//
//	m, err := mux.New(mux.Options{Format: strparser.Length32})
//	if err != nil {
//		log.Fatal(err)
//	}
//	defer m.Close()
//	m.Handle(func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
//		from.Send(msg) // moves: no byte is copied
//		return mux.Done
//	})
//	ln, err := net.Listen("tcp", ":7000")
//	if err != nil {
//		log.Fatal(err)
//	}
//	log.Fatal(m.Serve(ln))
//
// Connections come from [Mux.Serve], [Mux.Dial] and [Mux.Attach], which takes over one
// that package net made; [Psock.Detach] gives it back with the bytes that no message
// has used. [Mux.Shutdown] and [Mux.Close] end a Mux as they end a server of net/http;
// [Mux.Retire] lets the peers finish first. Listening sockets may come with the start of
// the process, [InheritedListeners], and go on in another one, [HandOver]. A [Pool] keeps a
// number of connections to equal servers up: one that fails is made again, after a delay
// that grows with each failure in a row.
//
// Protocols that begin with a greeting or a login have a handler of their own for that,
// Options.Handshake, until [Psock.Establish].
//
// # Who owns a message
//
// The message a [Handler] gets is lent: its bytes are valid until the handler returns.
// It may be
//
//   - looked at (Head, Segments, CopyTo), header included;
//   - moved to a connection with [Psock.Send], after which it is gone, whatever
//     becomes of it: bytes the kernel did not accept go to Options.OnLost;
//   - kept with its Take method, and then released when done with, on any goroutine.
//
// What is left is released by the Mux. Reading or sending a message that is gone panics,
// in every build. Received bytes are shared with the neighbours in their buffer and must not be
// written. A reply with other content is copied with [Psock.SendPayload], or
// [Received.ReplyPayload] in a worker, if Options.Format can write headers; else it is made
// whole, header and all, in the loop's memory, which any goroutine may use:
//
//	var out sgmsg.Message
//	if err := out.AppendCopy(p.Loop(), []byte("+PONG\r\n"), 0); err != nil { // ENOMEM
//		return mux.End
//	}
//	p.Send(&out)
//
// # Blocking
//
// A handler runs on a loop, and while it runs that loop does nothing else: it must
// not block, and what takes long belongs to a worker. Calls that would wait (Dial,
// Serve, Shutdown, Retire, Close, Detach, SendWait, Recv when there is nothing to receive)
// return EDEADLK on a loop's thread. Send never blocks anywhere.
//
// # Workers
//
//	m, err := mux.New(mux.Options{Format: strparser.Length32})
//	...
//	w, err := m.Workers(4, func(r *mux.Received) mux.Verdict {
//		answer := lookUp(r.Msg) // may block
//		r.ReplyPayload(answer)
//		return mux.Done
//	})
//
// Without a Handler every message goes to the workers; with one those for which it
// returns [Pass]. Which worker gets a message is Options.Policy: with [Idle] the first
// one that is free, in order of arrival; with [FIFO] they take turns, as the kernel's
// sockets do, busy or not. Idle is the better choice unless that behaviour is
// what you want to study: a worker that is stuck in a long message holds up no other
// connection's as long as another worker is free. It is first come, first served over all
// connections; how many workers one connection may keep is Options.FlowCap.
//
// Messages of one connection are handled by workers one after the other, unless FlowCap
// allows more at a time. A handler on the loop does not wait for those it has passed, so
// its replies may overtake theirs. With Options.OrderedReplies replies leave in the order
// of the messages, wherever they are made by Send in a handler and Reply in a worker, and
// FlowCap is unlimited unless it is set. Workers is made of [Reader]s, which a program may run in
// goroutines of its own; who keeps messages for longer takes them one by one, with
// [Socket.Recv]. [Mux.OpenSocket] gives a socket a type and limits of its own.
//
// GOMAXPROCS has to be at least one more than there are loops, or workers may wait for
// milliseconds: a loop keeps its P for a while when it sleeps in the kernel.
//
// # Message sockets
//
// A [Socket] is the message socket of the kernel's KCM: N of them and M connections to equal
// peers make one multiplexor. Whole messages come in to any socket and leave on any
// connection that is free:
//
//	socket 0 --+                      +-- connection 0 --> peer
//	socket 1 --+-- free connections --+-- connection 1 --> peer
//	socket 2 --+    (FIFO)            +-- connection 2 --> peer
//
//	s, err := m.OpenSocket(mux.SocketOptions{})
//	...
//	err = s.Send(ctx, msg) // queued: nothing but the end of the socket keeps it from leaving
//
// A connection that is given a message gets it as a whole before any other; when it ends in
// the middle, the message is sent from its first byte on another one. So messages are not
// torn, doubled or lost while they are here; what a connection that dies had accepted is lost
// with it, as everywhere. [Socket.SendMsg] and [Socket.RecvMsg] copy, in parts if need be;
// [Socket.SendAll] and the flag [Batch] let several leave together; [Socket.Readable] and
// [Socket.Writable] are for a select; [Socket.SetRecvDisabled] takes a socket out of the
// receiving for a while. [Mux.Snapshot] shows who is doing what, and [WriteKCM] writes it as
// /proc/net/kcm does. docs/kcm.md has all of it by number, and what is different from the
// kernel.
//
// Sockets send on connections of Attach, AttachFD, Dial and a [Pool]. Those of Serve are
// peers of their own: there a message goes by [Psock.Send] and [Received.Reply].
//
// # Calls
//
// A [Client] is the other side: requests leave on whichever connection of a [Pool] is free,
// and a reply finds its request by the number that both have (strparser.IDField; formats has
// the place of it in some protocols). Servers may answer in any order.
//
//	pool, err := m.Pool(mux.PoolOptions{Addresses: addrs, Conns: 4})
//	...
//	cl, err := m.Client(mux.ClientOptions{IDs: formats.MongoDBIDs})
//	...
//	var c mux.Call
//	err = c.Request.AppendCopy(m.Loops()[0], request, 0)
//	...
//	err = cl.Do(ctx, &c) // c.Reply is ours then
//
// A call ends once: with its reply, with its context, or with a [*CallError] when its
// connection ended before the reply. A request that no server has seen as a whole is not
// lost with its connection: it leaves on another one.
//
// # Pressure
//
// Messages are not dropped, and no queue grows without limit. When the out queue of
// a connection is over its limit (Options.Ring.SendSoft), the connections whose
// messages fill it are paused: their bytes stay unread, their receive stops, and the
// windows of their peers close. They go on when half the limit is free again. An echo
// so waits for its own peer; a proxy from A to B makes A wait for B, also when the two
// are on different loops. A peer that does not read at all is ended at SendHard or
// after SendTimeout. A sender outside of any handler is not paused; it asks with
// [Psock.TrySend], or waits with [Psock.SendWait]. What waits for workers is bounded by
// Options.QueueBytes: beyond it connections are paused in the same way, each with one
// message parked. A queue within its bound may still make everybody late:
// Options.DelayTarget limits the time.
//
// # How a connection ends
//
// In an orderly way, with nil for OnClose: when the peer finishes at the end of a
// message, when the handler returns [End], by Drain, or by Close with nothing left to
// send. All but the last wait for the messages that are with workers, and send the
// answers. Otherwise OnClose gets a [*PsockError], in which errors.Is finds the errno. A
// message that cannot be right, is too long, or takes too long to arrive ends its
// connection after the replies to those before it. So does an error of the connection, a
// reset for one: whole messages that were received before are delivered, also when the
// connection is paused at that moment, and only then it ends. A panic of the handler or of a Work
// function ends the connection whose message caused it, at once: replies to earlier
// messages that have not left may be lost, none to later ones is sent; see
// Options.CrashOnPanic.
//
// # What the package does not do
//
// It does not move a connection to another loop. It does not encrypt. A Client needs a
// number in requests and replies: protocols whose replies have none and come in order
// (RESP, PostgreSQL) are not for it.
package mux
