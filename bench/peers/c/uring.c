/*
 * len32 echo server on io_uring: one thread, one ring, raw system calls, Linux
 * 6.1 or newer (DEFER_TASKRUN).
 *
 * One turn of the loop is one io_uring_enter: it gives buffers back, submits
 * what the last turn made, waits for a completion and runs the kernel's deferred
 * work. Connections come from one multishot accept, bytes from one multishot recv
 * per connection out of a shared ring of provided buffers.
 *
 * Completions only note what there is. Whole frames of a chunk become a piece of
 * their connection, which holds the buffer; after all completions of the turn
 * each connection that saw one makes its requests, and that is one send of all
 * pieces if none is under way. Pieces that come during a send wait for its end.
 * Bytes are copied only for a frame that lies across chunks, and when pieces or
 * buffers run short.
 *
 * A send that nothing waits for but its buffers does not wait for room in the
 * socket either, so it ends while it is submitted, and says only when it did not
 * send all: the others need no completion, and the enter sleeps until something
 * arrives. What did not fit is sent by a request that waits for room.
 *
 * A frame larger than a provided buffer, or a client that does not read its
 * replies, moves a connection for good to direct receiving: one plain recv at a
 * time into the connection's own buffer, armed only while no whole frame waits
 * there. That reads large frames without a copy and is the backpressure.
 */
#define _GNU_SOURCE
#include "peer.h"
#include <linux/io_uring.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1u << 16) /* Linux 6.6 */
#endif

#define SQ_ENTRIES 1024u
#define CQ_ENTRIES 8192u
#define POOL_BUFS 512u /* a power of two */
#define POOL_BUF_LEN (32u << 10)
/* An odd number of cache lines, so that the buffers begin in different sets. */
#define POOL_STRIDE (POOL_BUF_LEN + 64u)
#define POOL_GROUP 0
#define FIRST_BUFFER (64u << 10)
#define BACKLOG (1u << 20) /* copied bytes that end multishot receiving */
#define PIECES 8	   /* of a connection; the kernel takes 8 without allocating */
#define HUGE_PAGE (2u << 20)

/* Low bits of user_data; the rest is the connection. */
enum { OP_ACCEPT, OP_TERM, OP_RECV, OP_SEND, OP_CANCEL, OP_MASK = 7 };

enum armed { NOT_ARMED, MULTISHOT, DIRECT };

/* What a piece lies in: a provided buffer, by its number, or conn.out. */
#define IN_OUT 0xffffu

struct conn {
	int fd;
	unsigned inflight; /* requests the kernel has; freed at 0 */
	enum armed armed;  /* the receive under way */
	bool direct;	   /* receive directly from now on */
	bool cancelled;	   /* the multishot was asked to end */
	bool ended;	   /* the client sends no more */
	bool failed;	   /* shut down, waits for inflight to be 0 */
	bool touched;	   /* on the list of this turn */
	bool full;	   /* the last send did not fit into the socket */
	bool out_used;	   /* a piece lies in out */
	bool silent;	   /* the send under way ends in enter, silently if all was sent */
	unsigned pieces;
	size_t sending; /* bytes of the send under way, from the first piece on */
	struct conn *next; /* on the list of this turn */
	struct conn *next_silent;
	/* Bytes are sent from the pieces in order, then from in. */
	struct iovec piece[PIECES];
	uint16_t piece_of[PIECES];
	struct buf in; /* received; not moved while armed is DIRECT */
	struct buf out;
	struct msghdr msg; /* read by the kernel while it takes the request */
} __attribute__((aligned(64)));

static struct {
	int fd;
	unsigned *head, *tail, *flags, mask, entries; /* submission */
	unsigned *chead, *ctail, cmask;	      /* completion */
	unsigned next;			      /* our tail, published by enter */
	unsigned chead_next;		      /* our head, published by enter */
	int enter_fd;
	unsigned enter_flags;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static struct {
	struct io_uring_buf_ring *ring;
	uint8_t *bufs;
	uint16_t tail; /* published by enter */
	unsigned held; /* by pieces */
} pool;

static int listener;
static struct conn *touched, *silent;

static void *map(size_t len, int fd, off_t offset)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED | MAP_POPULATE;
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, offset);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void ring_init(void)
{
	const unsigned flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			       IORING_SETUP_CQSIZE;
	struct io_uring_params p = {
		.flags = flags | IORING_SETUP_NO_SQARRAY,
		.cq_entries = CQ_ENTRIES,
	};
	struct io_uring_rsrc_update self = { .offset = -1U };
	size_t sq_len, cq_len;
	unsigned *array;
	uint8_t *rings;

	ring.fd = (int)syscall(SYS_io_uring_setup, SQ_ENTRIES, &p);
	if (ring.fd < 0 && errno == EINVAL) { /* before 6.6 */
		p = (struct io_uring_params){ .flags = flags, .cq_entries = CQ_ENTRIES };
		ring.fd = (int)syscall(SYS_io_uring_setup, SQ_ENTRIES, &p);
	}
	if (ring.fd < 0)
		die("io_uring_setup");
	/* Every kernel that knows DEFER_TASKRUN has both rings in one mapping;
	 * without an array its offset is 0. */
	sq_len = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	cq_len = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	rings = map(sq_len > cq_len ? sq_len : cq_len, ring.fd, IORING_OFF_SQ_RING);
	ring.sqes = map(p.sq_entries * sizeof(*ring.sqes), ring.fd, IORING_OFF_SQES);
	ring.head = (unsigned *)(rings + p.sq_off.head);
	ring.tail = (unsigned *)(rings + p.sq_off.tail);
	ring.flags = (unsigned *)(rings + p.sq_off.flags);
	ring.mask = *(unsigned *)(rings + p.sq_off.ring_mask);
	ring.entries = p.sq_entries;
	ring.chead = (unsigned *)(rings + p.cq_off.head);
	ring.ctail = (unsigned *)(rings + p.cq_off.tail);
	ring.cmask = *(unsigned *)(rings + p.cq_off.ring_mask);
	ring.cqes = (struct io_uring_cqe *)(rings + p.cq_off.cqes);
	array = (unsigned *)(rings + p.sq_off.array);
	for (unsigned i = 0; i < p.sq_entries && !(p.flags & IORING_SETUP_NO_SQARRAY); i++)
		array[i] = i;

	ring.enter_fd = ring.fd;
	ring.enter_flags = IORING_ENTER_GETEVENTS;
	self.data = (unsigned)ring.fd;
	if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_RING_FDS, &self, 1) == 1) {
		ring.enter_fd = (int)self.offset;
		ring.enter_flags |= IORING_ENTER_REGISTERED_RING;
	}
}

/* Publishes and submits everything and waits for `wait` completions. */
static void enter(unsigned wait)
{
	unsigned submit = ring.next - __atomic_load_n(ring.head, __ATOMIC_ACQUIRE);

	__atomic_store_n(&pool.ring->tail, pool.tail, __ATOMIC_RELEASE);
	__atomic_store_n(ring.chead, ring.chead_next, __ATOMIC_RELEASE);
	__atomic_store_n(ring.tail, ring.next, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring.enter_fd, submit, wait, ring.enter_flags, NULL, 0) < 0 &&
	    errno != EINTR && errno != EAGAIN && errno != EBUSY)
		die("io_uring_enter");
}

static struct io_uring_sqe *sqe_get(int op, int fd, struct conn *c, unsigned kind)
{
	struct io_uring_sqe *sqe;

	while (ring.next - __atomic_load_n(ring.head, __ATOMIC_ACQUIRE) == ring.entries)
		enter(0);
	sqe = &ring.sqes[ring.next++ & ring.mask];
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = (uint8_t)op;
	sqe->fd = fd;
	sqe->user_data = (uintptr_t)c | kind;
	if (c)
		c->inflight++;
	return sqe;
}

static uint8_t *pool_buf(unsigned bid)
{
	return pool.bufs + (size_t)bid * POOL_STRIDE;
}

static void pool_return(unsigned bid)
{
	struct io_uring_buf *b = &pool.ring->bufs[pool.tail++ & (POOL_BUFS - 1)];

	b->addr = (uintptr_t)pool_buf(bid);
	b->len = POOL_BUF_LEN;
	b->bid = (uint16_t)bid;
}

/* The ring and its buffers lie in one mapping of huge pages, if there are any. */
static void pool_init(void)
{
	struct io_uring_buf_reg reg = { .ring_entries = POOL_BUFS, .bgid = POOL_GROUP };
	size_t ring_len = POOL_BUFS * sizeof(struct io_uring_buf);
	size_t len = ring_len + (size_t)POOL_BUFS * POOL_STRIDE;
	uint8_t *p;

	len = (len + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
	p = map(len + HUGE_PAGE, -1, 0);
	p += -(uintptr_t)p & (HUGE_PAGE - 1);
	madvise(p, len, MADV_HUGEPAGE);
	madvise(p, len, MADV_POPULATE_WRITE);
	pool.ring = (struct io_uring_buf_ring *)p;
	pool.bufs = p + ring_len;
	reg.ring_addr = (uintptr_t)pool.ring;
	if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_PBUF_RING, &reg, 1))
		die("register provided buffers");
	for (unsigned i = 0; i < POOL_BUFS; i++)
		pool_return(i);
}

static void arm_accept(void)
{
	struct io_uring_sqe *sqe = sqe_get(IORING_OP_ACCEPT, listener, NULL, OP_ACCEPT);

	sqe->ioprio = IORING_ACCEPT_MULTISHOT;
	sqe->accept_flags = SOCK_CLOEXEC;
}

static void arm_multishot(struct conn *c)
{
	struct io_uring_sqe *sqe = sqe_get(IORING_OP_RECV, c->fd, c, OP_RECV);

	sqe->ioprio = IORING_RECV_MULTISHOT;
	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->buf_group = POOL_GROUP;
	c->armed = MULTISHOT;
}

static void arm_direct(struct conn *c)
{
	struct io_uring_sqe *sqe = sqe_get(IORING_OP_RECV, c->fd, c, OP_RECV);

	/* Twice a large frame, so that a read finds room for the next one. */
	buf_reserve(&c->in, 2 * c->in.need > FIRST_BUFFER ? 2 * c->in.need : FIRST_BUFFER);
	sqe->addr = (uintptr_t)(c->in.data + c->in.len);
	sqe->len = (uint32_t)(c->in.cap - c->in.len);
	c->armed = DIRECT;
}

/* Sends all pieces. */
static void arm_send(struct conn *c)
{
	/* What waits for the end of a send must hear of it. */
	bool now = !c->full && !c->direct && !c->ended && !c->in.whole;
	struct io_uring_sqe *sqe = sqe_get(c->pieces == 1 ? IORING_OP_SEND : IORING_OP_SENDMSG, c->fd,
					   c, OP_SEND);

	if (c->pieces == 1) {
		sqe->addr = (uintptr_t)c->piece[0].iov_base;
		sqe->len = (uint32_t)c->piece[0].iov_len;
	} else {
		c->msg.msg_iov = c->piece;
		c->msg.msg_iovlen = c->pieces;
		sqe->addr = (uintptr_t)&c->msg;
		sqe->len = 1;
	}
	for (unsigned i = 0; i < c->pieces; i++)
		c->sending += c->piece[i].iov_len;
	/* With MSG_WAITALL a short send is a failure, which is not silent. */
	sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL | (now ? MSG_DONTWAIT : 0);
	if (now) {
		sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
		c->silent = true;
		c->next_silent = silent;
		silent = c;
	}
}

static void piece_add(struct conn *c, uint8_t *data, size_t len, unsigned of)
{
	c->piece[c->pieces].iov_base = data;
	c->piece[c->pieces].iov_len = len;
	c->piece_of[c->pieces++] = (uint16_t)of;
}

/* Makes the whole frames in c->in a piece; out must be unused. */
static void piece_add_in(struct conn *c)
{
	struct buf full = c->in;

	c->in = c->out;
	c->out = full;
	c->out_used = true;
	buf_clear(&c->in);
	buf_append(&c->in, full.data + full.whole, full.len - full.whole);
	c->in.need = full.need;
	piece_add(c, full.data, full.whole, IN_OUT);
}

static void piece_end(struct conn *c, unsigned of)
{
	if (of == IN_OUT) {
		c->out_used = false;
	} else {
		pool_return(of);
		pool.held--;
	}
}

/* Drops n bytes from the front of the pieces. */
static void pieces_sent(struct conn *c, size_t n)
{
	unsigned i = 0;

	for (; i < c->pieces && n >= c->piece[i].iov_len; i++) {
		n -= c->piece[i].iov_len;
		piece_end(c, c->piece_of[i]);
	}
	c->pieces -= i;
	if (i && c->pieces) {
		memmove(c->piece, c->piece + i, c->pieces * sizeof(c->piece[0]));
		memmove(c->piece_of, c->piece_of + i, c->pieces * sizeof(c->piece_of[0]));
	}
	if (n) {
		c->piece[0].iov_base = (uint8_t *)c->piece[0].iov_base + n;
		c->piece[0].iov_len -= n;
	}
}

/* Shutting down completes every request that is under way. */
static void conn_fail(struct conn *c)
{
	c->failed = true;
	shutdown(c->fd, SHUT_RDWR);
}

static void conn_free(struct conn *c)
{
	for (unsigned i = 0; i < c->pieces; i++)
		piece_end(c, c->piece_of[i]);
	close(c->fd);
	free(c->in.data);
	free(c->out.data);
	free(c);
}

static void touch(struct conn *c)
{
	if (c->touched)
		return;
	c->touched = true;
	c->next = touched;
	touched = c;
}

/* Makes the requests that the state of c asks for. */
static void conn_advance(struct conn *c)
{
	if (!c->sending) {
		if (c->in.whole && c->armed != DIRECT && !c->out_used && c->pieces < PIECES)
			piece_add_in(c);
		if (c->pieces)
			arm_send(c);
	}
	if (c->in.need > POOL_BUF_LEN || c->in.len > BACKLOG)
		c->direct = true;
	if (c->armed == MULTISHOT && c->direct && !c->cancelled) {
		sqe_get(IORING_OP_ASYNC_CANCEL, -1, c, OP_CANCEL)->addr = (uintptr_t)c | OP_RECV;
		c->cancelled = true;
	}
	if (c->armed == NOT_ARMED && !c->ended) {
		if (!c->direct)
			arm_multishot(c);
		else if (!c->in.whole)
			arm_direct(c);
	}
}

static void advance_touched(void)
{
	while (touched) {
		struct conn *c = touched;

		touched = c->next;
		c->touched = false;
		if (!c->failed)
			conn_advance(c);
		if (!c->inflight)
			conn_free(c);
	}
}

/* Appends to c->in what it lacks of a frame; returns how many bytes that took. */
static size_t complete_in(struct conn *c, const uint8_t *data, size_t len)
{
	struct buf *b = &c->in;
	size_t used = 0;

	/* First the header, if that is cut, then the payload. */
	while (used < len && b->len > b->whole) {
		size_t n = (b->need ? b->need : HEADER_LEN) - (b->len - b->whole);

		if (n > len - used)
			n = len - used;
		buf_append(b, data + used, n);
		used += n;
		if (buf_scan(b)) {
			conn_fail(c);
			break;
		}
	}
	return used;
}

static void on_chunk(struct conn *c, uint8_t *data, size_t len, unsigned bid)
{
	bool held = false;

	if (!c->failed && c->in.len > c->in.whole) {
		size_t used = complete_in(c, data, len);

		data += used;
		len -= used;
	}
	/* Pieces hold at most half of the pool: the other half returns at once. */
	if (!c->failed && len && pool.held < POOL_BUFS / 2 && c->pieces + 2 <= PIECES &&
	    !(c->in.len && c->out_used)) {
		size_t whole = 0, need;

		if (scan(data, len, &whole, &need)) {
			conn_fail(c);
		} else if (whole) {
			if (c->in.len)
				piece_add_in(c);
			piece_add(c, data, whole, bid);
			pool.held++;
			held = true;
			data += whole;
			len -= whole;
		}
	}
	if (!c->failed && len) {
		buf_append(&c->in, data, len);
		if (buf_scan(&c->in))
			conn_fail(c);
	}
	if (!held)
		pool_return(bid);
}

static void on_recv(struct conn *c, int res, unsigned flags)
{
	if (!(flags & IORING_CQE_F_MORE)) {
		c->inflight--;
		c->armed = NOT_ARMED;
	}
	if (flags & IORING_CQE_F_BUFFER) {
		unsigned bid = flags >> IORING_CQE_BUFFER_SHIFT;

		on_chunk(c, pool_buf(bid), res > 0 ? (size_t)res : 0, bid);
	} else if (res > 0) {
		c->in.len += (size_t)res;
		if (!c->failed && buf_scan(&c->in))
			conn_fail(c);
	}
	if (res == 0)
		c->ended = true;
	else if (res < 0 && res != -ENOBUFS && res != -ECANCELED && res != -EINTR && !c->failed)
		conn_fail(c);
	touch(c);
}

static void on_send(struct conn *c, int res)
{
	c->inflight--;
	c->silent = false;
	c->full = res < 0 || (size_t)res < c->sending;
	c->sending = 0;
	if (res >= 0)
		pieces_sent(c, (size_t)res);
	else if (res != -EINTR && res != -EAGAIN && !c->failed)
		conn_fail(c);
	touch(c);
}

/* Ends the silent sends that no completion spoke of: all of theirs was sent. */
static void end_silent(void)
{
	struct conn *c;

	while ((c = silent)) {
		silent = c->next_silent;
		if (!c->silent)
			continue;
		c->inflight--;
		c->silent = false;
		pieces_sent(c, c->sending);
		c->sending = 0;
	}
}

static void on_accept(int res, unsigned flags)
{
	struct conn *c;

	if (!(flags & IORING_CQE_F_MORE))
		arm_accept();
	if (res < 0) {
		if (res == -ECONNABORTED || res == -EINTR)
			return;
		errno = -res;
		die("accept");
	}
	c = aligned_alloc(_Alignof(struct conn), sizeof(*c));
	if (!c)
		die("aligned_alloc");
	memset(c, 0, sizeof(*c));
	c->fd = res;
	touch(c);
}

int main(int argc, char **argv)
{
	int term = termination_fd();

	ring_init();
	pool_init();
	listener = listen_from_args(argc, argv, 0);
	arm_accept();
	sqe_get(IORING_OP_POLL_ADD, term, NULL, OP_TERM)->poll32_events = POLLIN;

	for (;;) {
		unsigned tail;

		/* Silent sends have ended once all requests are taken. */
		for (enter(touched ? 0 : 1); ring.next != __atomic_load_n(ring.head, __ATOMIC_ACQUIRE);)
			enter(0);
		tail = __atomic_load_n(ring.ctail, __ATOMIC_ACQUIRE);
		while (ring.chead_next != tail) {
			const struct io_uring_cqe *cqe = &ring.cqes[ring.chead_next & ring.cmask];
			struct conn *c = (struct conn *)(uintptr_t)(cqe->user_data & ~(uint64_t)OP_MASK);
			unsigned op = cqe->user_data & OP_MASK, flags = cqe->flags;
			int res = cqe->res;

			/* Making a request may enter the kernel, which publishes this. */
			ring.chead_next++;
			switch (op) {
			case OP_ACCEPT:
				on_accept(res, flags);
				break;
			case OP_RECV:
				on_recv(c, res, flags);
				break;
			case OP_SEND:
				on_send(c, res);
				break;
			case OP_CANCEL:
				c->inflight--;
				touch(c);
				break;
			case OP_TERM:
				print_cpu();
				return 0;
			}
		}
		/* A failure of a silent send may be among what did not fit. */
		if (__atomic_load_n(ring.flags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW)
			continue;
		end_silent();
		advance_touched();
	}
}
