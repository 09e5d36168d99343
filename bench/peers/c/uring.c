/*
 * len32 echo server on io_uring: one thread, one ring, raw system calls, Linux
 * 6.1 or newer (DEFER_TASKRUN); what newer kernels have is used if it is there.
 *
 * One turn of the loop is one io_uring_enter: it submits what the last turn
 * made, waits for at least one completion and runs the kernel's deferred work.
 * Connections come from one multishot accept, bytes from one multishot recv per
 * connection out of a shared ring of provided buffers.
 *
 * When all completions of a turn have been looked at, each connection that got
 * bytes sends all whole frames among them at once, straight from the buffers.
 * Such a send does not wait (MSG_DONTWAIT) and has no completion if it took
 * everything (CQE_SKIP_SUCCESS): when the next enter has returned and no
 * completion says otherwise, it is over, and its buffers can be used again. So
 * no buffer is held longer than from one turn to the next, and no wait is cut
 * short by the end of a send. The frame that is not whole yet, if any, is copied
 * to the connection.
 *
 * The kernel's ring of buffers has as many as turns have lately needed, and the
 * buffer that was used last is the next to go there: few are in rotation, and
 * those are in the caches.
 *
 * What a send does not take is copied to the connection and sent by a request
 * that waits; bytes that arrive meanwhile are copied too. A large frame, or a
 * client that does not read its replies, moves a connection for good to direct
 * receiving: one plain recv at a time into the connection's own buffer, armed
 * only while no whole frame waits there. That reads large frames without a copy
 * and is the backpressure.
 */
#define _GNU_SOURCE
#include "peer.h"
#include "trials/abi.h"
#include <poll.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* Both rings are walked through in turn, so small ones stay in the caches. */
#define SQ_ENTRIES 256u
#define CQ_ENTRIES 4096u
#define FILES 65536u /* registered descriptors, at most */
#define POOL_BUFS 1024u /* a power of two */
#define POOL_BUF_LEN (16u << 10)
#define POOL_LEAST 8u /* in the kernel's ring */
#define POOL_GROUP 0
#define HUGE (2ul << 20)
#define FIRST_BUFFER (64u << 10)
#define LARGE (16u << 10)  /* longer frames are received directly */
#define BACKLOG (1u << 20) /* unsent bytes that end multishot receiving */

/* Low bits of user_data; the rest is the connection. */
enum { OP_ACCEPT, OP_TERM, OP_RECV, OP_SEND_NOW, OP_SEND, OP_CANCEL, OP_MASK = 7 };

enum armed { NOT_ARMED, MULTISHOT, DIRECT };

#define NONE UINT16_MAX

struct conn {
	int fd;
	unsigned inflight; /* requests that complete; freed at 0 */
	enum armed armed;  /* the receive under way */
	bool direct;	   /* receive directly from now on */
	bool cancelled;	   /* the multishot was asked to end */
	bool ended;	   /* the client sends no more */
	bool failed;	   /* shut down, waits for inflight to be 0 */
	bool touched;	   /* is in turn.touched */
	bool leaving;	   /* is in turn.leaving */
	uint16_t first, last; /* buffers with bytes of this turn, NONE without any */
	struct buf in;	   /* received; not moved while armed is DIRECT */
	struct buf out;	   /* being sent, or what is sent first */
	struct iovec *iov; /* what is sent now, until the next turn */
	unsigned iovs;
	const uint8_t *send; /* being sent by a request that waits, while send_left is not 0 */
	size_t send_left;
};

static struct {
	int fd;
	int enter_fd; /* registered, perhaps */
	unsigned enter_flags;
	unsigned files; /* descriptors below are registered, each at its own number */
	unsigned *head, *tail, *flags, mask, entries; /* submission */
	unsigned *chead, *ctail, cmask;		      /* completion */
	unsigned next;				      /* our tail, published by enter */
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static struct {
	struct io_uring_buf_ring *ring;
	uint8_t *bufs;
	uint16_t tail;
	unsigned inside; /* the kernel's ring */
	unsigned want;	 /* to be inside when a turn begins */
	uint16_t free[POOL_BUFS];
	unsigned frees;
	/* By buffer: how many bytes it got in this turn, and the connection's next one. */
	uint16_t len[POOL_BUFS], next[POOL_BUFS];
	/* Buffers that got bytes in this turn; those that sends of the last one have. */
	uint16_t got[POOL_BUFS], lent[POOL_BUFS];
	unsigned gots, lents;
} pool;

/* A list of connections. */
struct list {
	struct conn **conns;
	unsigned len, cap;
};

static struct {
	struct list touched; /* have had completions */
	struct list leaving; /* are to be freed when their last send is over */
	struct iovec iovs[2 * POOL_BUFS];
	unsigned iov;
	struct msghdr msgs[SQ_ENTRIES]; /* by place in the queue */
	bool starved; /* the pool was empty */
} turn;

static int listener;

static void list_add(struct list *l, struct conn *c)
{
	if (l->len == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->conns = realloc(l->conns, l->cap * sizeof(*l->conns));
		if (!l->conns)
			die("realloc");
	}
	l->conns[l->len++] = c;
}

static void touch(struct conn *c)
{
	if (!c->touched)
		list_add(&turn.touched, c);
	c->touched = true;
}

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
	const unsigned flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
	struct io_uring_params p = { .flags = flags | IORING_SETUP_NO_SQARRAY, .cq_entries = CQ_ENTRIES };
	struct io_uring_rsrc_update own = { .offset = -1U };
	struct io_uring_rsrc_register files = { .flags = IORING_RSRC_REGISTER_SPARSE };
	struct rlimit limit;
	size_t sq_len, cq_len;
	uint8_t *rings;

	ring.fd = (int)syscall(SYS_io_uring_setup, SQ_ENTRIES, &p);
	if (ring.fd < 0 && errno == EINVAL) { /* before 6.6 */
		p = (struct io_uring_params){ .flags = flags, .cq_entries = CQ_ENTRIES };
		ring.fd = (int)syscall(SYS_io_uring_setup, SQ_ENTRIES, &p);
	}
	if (ring.fd < 0)
		die("io_uring_setup");
	/* Every kernel that knows DEFER_TASKRUN has both rings in one mapping. */
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
	for (unsigned i = 0; !(p.flags & IORING_SETUP_NO_SQARRAY) && i < p.sq_entries; i++)
		((unsigned *)(rings + p.sq_off.array))[i] = i;

	own.data = (unsigned)ring.fd;
	ring.enter_fd = ring.fd;
	if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_RING_FDS, &own, 1) == 1) {
		ring.enter_fd = (int)own.offset;
		ring.enter_flags = IORING_ENTER_REGISTERED_RING;
	}
	/* The table may not be larger than the limit of descriptors. */
	files.nr = getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > FILES ? FILES : (unsigned)limit.rlim_cur;
	if (!syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES2, &files, sizeof(files)))
		ring.files = files.nr;
}

/* Registers a connection's descriptor, which saves requests a look-up; -1 undoes it. */
static void file_set(int at, int fd)
{
	struct io_uring_files_update u = { .offset = (unsigned)at, .fds = (uintptr_t)&fd };

	if ((unsigned)at < ring.files &&
	    syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES_UPDATE, &u, 1) != 1)
		die("register a descriptor");
}

static unsigned unsubmitted(void)
{
	return ring.next - __atomic_load_n(ring.head, __ATOMIC_ACQUIRE);
}

/*
 * Submits everything. With IORING_ENTER_GETEVENTS in flags the kernel does its
 * deferred work too, until there are `wait` completions.
 */
static void enter(unsigned wait, unsigned flags)
{
	do {
		__atomic_store_n(ring.tail, ring.next, __ATOMIC_RELEASE);
		if (syscall(SYS_io_uring_enter, ring.enter_fd, unsubmitted(), wait, flags | ring.enter_flags,
			    NULL, 0) < 0 &&
		    errno != EINTR && errno != EAGAIN && errno != EBUSY)
			die("io_uring_enter");
	} while (unsubmitted());
}

static struct io_uring_sqe *sqe_get(int op, int fd, struct conn *c, unsigned kind)
{
	struct io_uring_sqe *sqe;

	if (unsubmitted() == ring.entries)
		enter(0, 0);
	sqe = &ring.sqes[ring.next++ & ring.mask];
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = (uint8_t)op;
	sqe->fd = fd;
	if (c && (unsigned)fd < ring.files)
		sqe->flags = IOSQE_FIXED_FILE;
	sqe->user_data = (uintptr_t)c | kind;
	if (c && kind != OP_SEND_NOW)
		c->inflight++;
	return sqe;
}

static uint8_t *pool_buf(unsigned bid)
{
	return pool.bufs + (size_t)bid * POOL_BUF_LEN;
}

/* Fills the kernel's ring with buffers, those that were used last first. */
static void pool_fill(void)
{
	while (pool.inside < pool.want && pool.frees) {
		struct io_uring_buf *b = &pool.ring->bufs[pool.tail++ & (POOL_BUFS - 1)];
		unsigned bid = pool.free[--pool.frees];

		b->addr = (uintptr_t)pool_buf(bid);
		b->len = POOL_BUF_LEN;
		b->bid = (uint16_t)bid;
		pool.inside++;
	}
	__atomic_store_n(&pool.ring->tail, pool.tail, __ATOMIC_RELEASE);
}

/*
 * Ends a turn: the sends of the last one are over. want follows what turns use,
 * up at once and down slowly.
 */
static void pool_turn(void)
{
	unsigned want = turn.starved ? 2 * pool.want : pool.gots + pool.gots / 4 + POOL_LEAST;

	turn.starved = false;
	if (want > pool.want) /* less than there are: a send has that many pieces and one more */
		pool.want = want < POOL_BUFS ? want : POOL_BUFS - 1;
	else if (pool.gots)
		pool.want -= (pool.want - want + 63) / 64;
	while (pool.lents)
		pool.free[pool.frees++] = pool.lent[--pool.lents];
	memcpy(pool.lent, pool.got, pool.gots * sizeof(*pool.got));
	pool.lents = pool.gots;
	pool.gots = 0;
	pool_fill();
}

static void pool_init(void)
{
	struct buf_reg reg = { .ring_entries = POOL_BUFS, .bgid = POOL_GROUP };
	size_t len = (size_t)POOL_BUFS * POOL_BUF_LEN; /* a multiple of HUGE */
	uintptr_t bufs = (uintptr_t)map(len + HUGE, -1, 0);

	pool.bufs = (uint8_t *)((bufs + HUGE - 1) & ~(HUGE - 1));
	madvise(pool.bufs, len, MADV_HUGEPAGE); /* better with it, right without */
	pool.ring = map(POOL_BUFS * sizeof(struct io_uring_buf), -1, 0);
	reg.ring_addr = (uintptr_t)pool.ring;
	if (syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_PBUF_RING, &reg, 1))
		die("register provided buffers");
	while (pool.frees < POOL_BUFS) {
		pool.free[pool.frees] = (uint16_t)(POOL_BUFS - 1 - pool.frees);
		pool.frees++;
	}
	pool.want = POOL_LEAST;
	pool_fill();
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
	sqe->flags |= IOSQE_BUFFER_SELECT;
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

static void arm_send(struct conn *c)
{
	struct io_uring_sqe *sqe = sqe_get(IORING_OP_SEND, c->fd, c, OP_SEND);

	sqe->addr = (uintptr_t)c->send;
	sqe->len = (uint32_t)c->send_left;
	sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
}

/* Sends the first len bytes of out by a request that waits. */
static void start_send(struct conn *c, size_t len)
{
	c->send = c->out.data;
	c->send_left = len;
	arm_send(c);
}

/* Shutting down completes every request that is under way. */
static void conn_fail(struct conn *c)
{
	c->failed = true;
	shutdown(c->fd, SHUT_RDWR);
}

/* Sends c->iov without waiting. */
static void send_now(struct conn *c)
{
	struct io_uring_sqe *sqe;

	if (c->iovs == 1) {
		sqe = sqe_get(IORING_OP_SEND, c->fd, c, OP_SEND_NOW);
		sqe->addr = (uintptr_t)c->iov->iov_base;
		sqe->len = (uint32_t)c->iov->iov_len;
	} else {
		struct msghdr *msg;

		sqe = sqe_get(IORING_OP_SENDMSG, c->fd, c, OP_SEND_NOW);
		msg = &turn.msgs[(ring.next - 1) & ring.mask]; /* the kernel copies it at submission */
		memset(msg, 0, sizeof(*msg));
		msg->msg_iov = c->iov;
		msg->msg_iovlen = c->iovs;
		sqe->addr = (uintptr_t)msg;
		sqe->len = 1;
	}
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL | MSG_DONTWAIT;
}

/* Copies the buffers of c from offset `from` of buffer bid on to the connection. */
static void keep(struct conn *c, unsigned bid, size_t from)
{
	for (; bid != NONE; bid = pool.next[bid], from = 0)
		buf_append(&c->in, pool_buf(bid) + from, pool.len[bid] - from);
}

/*
 * Sends the whole frames of the buffers of c, and what c->in has of the first
 * one before them. The rest goes to c->in.
 */
static void conn_echo(struct conn *c)
{
	struct iovec *iov = &turn.iovs[turn.iov];
	unsigned n = 0, whole = 0; /* pieces, and those up to the end of the last whole frame */
	unsigned last = NONE;	   /* buffer where that is, behind byte end */
	size_t end = 0;
	struct tracker t;

	tracker_init(&t, &c->in);
	if (c->in.len)
		iov[n++] = (struct iovec){ c->in.data, c->in.len };
	for (unsigned bid = c->first; bid != NONE; bid = pool.next[bid]) {
		size_t e = track(&t, pool_buf(bid), pool.len[bid]);

		if (t.bad) {
			conn_fail(c);
			return;
		}
		iov[n++] = (struct iovec){ pool_buf(bid), pool.len[bid] };
		if (e) {
			whole = n;
			last = bid;
			end = e;
		}
	}
	if (!whole) {
		keep(c, c->first, 0);
		return;
	}
	iov[whole - 1].iov_len = end;
	turn.iov += whole;
	c->iov = iov;
	c->iovs = whole;
	if (c->in.len) {
		struct buf first = c->in;

		c->in = c->out;
		c->out = first;
		buf_clear(&c->in);
	}
	keep(c, last, end);
	send_now(c);
}

static void conn_free(struct conn *c)
{
	file_set(c->fd, -1);
	close(c->fd);
	free(c->in.data);
	free(c->out.data);
	free(c);
}

/* Makes the requests that the state of c asks for; may free c. */
static void conn_turn(struct conn *c)
{
	c->touched = false;
	if (!c->failed && c->first != NONE) {
		if (c->direct || c->send_left)
			keep(c, c->first, 0);
		else
			conn_echo(c);
	}
	c->first = NONE;
	if (!c->failed && buf_scan(&c->in))
		conn_fail(c);
	if (!c->failed && c->in.whole && !c->send_left && c->armed != DIRECT) {
		struct buf full = c->in;

		c->in = c->out;
		c->out = full;
		buf_clear(&c->in);
		buf_append(&c->in, full.data + full.whole, full.len - full.whole);
		c->in.need = full.need;
		start_send(c, full.whole);
	}
	if (!c->failed && (c->in.need > LARGE || c->in.len > BACKLOG))
		c->direct = true;
	if (!c->failed && c->armed == MULTISHOT && c->direct && !c->cancelled) {
		sqe_get(IORING_OP_ASYNC_CANCEL, -1, c, OP_CANCEL)->addr = (uintptr_t)c | OP_RECV;
		c->cancelled = true;
	}
	if (!c->failed && c->armed == NOT_ARMED && !c->ended) {
		if (!c->direct)
			arm_multishot(c);
		else if (!c->in.whole)
			arm_direct(c);
	}
	if (!c->inflight && !c->leaving) {
		c->leaving = true;
		list_add(&turn.leaving, c);
	}
}

static void on_recv(struct conn *c, int res, unsigned flags)
{
	if (!(flags & IORING_CQE_F_MORE)) {
		c->inflight--;
		c->armed = NOT_ARMED;
	}
	if (flags & IORING_CQE_F_BUFFER) {
		unsigned bid = flags >> IORING_CQE_BUFFER_SHIFT;

		pool.inside--;
		pool.got[pool.gots++] = (uint16_t)bid;
		if (res > 0) {
			pool.len[bid] = (uint16_t)res;
			pool.next[bid] = NONE;
			if (c->first == NONE)
				c->first = (uint16_t)bid;
			else
				pool.next[c->last] = (uint16_t)bid;
			c->last = (uint16_t)bid;
		}
	} else if (res > 0) {
		c->in.len += (size_t)res;
	}
	if (res == 0)
		c->ended = true;
	else if (res == -ENOBUFS)
		turn.starved = true;
	else if (res < 0 && res != -ECANCELED && res != -EINTR && !c->failed)
		conn_fail(c);
	touch(c);
}

/*
 * A send that should not wait took only a part, or nothing. The rest is copied:
 * its buffers are still as they were.
 */
static void on_send_now(struct conn *c, int res)
{
	struct buf rest = { 0 };
	size_t skip = res > 0 ? (size_t)res : 0;

	touch(c);
	if (c->failed)
		return;
	if (res < 0 && res != -EAGAIN && res != -EINTR) {
		conn_fail(c);
		return;
	}
	for (unsigned i = 0; i < c->iovs; i++) {
		size_t n = skip < c->iov[i].iov_len ? skip : c->iov[i].iov_len;

		buf_append(&rest, (uint8_t *)c->iov[i].iov_base + n, c->iov[i].iov_len - n);
		skip -= n;
	}
	if (!rest.len)
		return;
	free(c->out.data);
	c->out = rest;
	start_send(c, rest.len);
}

static void on_send(struct conn *c, int res)
{
	c->inflight--;
	if (res >= 0) {
		c->send += res;
		c->send_left -= (size_t)res;
	} else if (res != -EINTR && res != -EAGAIN && !c->failed) {
		conn_fail(c);
	}
	if (c->failed)
		c->send_left = 0;
	else if (c->send_left)
		arm_send(c);
	touch(c);
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
	c = calloc(1, sizeof(*c));
	if (!c)
		die("calloc");
	c->fd = res;
	file_set(res, res);
	c->first = NONE;
	touch(c);
}

/* Looks at every completion. Returns false when the server is to end. */
static bool drain(void)
{
	unsigned head = *ring.chead;

	while (head != __atomic_load_n(ring.ctail, __ATOMIC_ACQUIRE)) {
		struct io_uring_cqe cqe = ring.cqes[head++ & ring.cmask];
		struct conn *c = (struct conn *)(uintptr_t)(cqe.user_data & ~(uint64_t)OP_MASK);

		/* Handling may enter the kernel, so give the entry back first. */
		__atomic_store_n(ring.chead, head, __ATOMIC_RELEASE);
		switch (cqe.user_data & OP_MASK) {
		case OP_ACCEPT:
			on_accept(cqe.res, cqe.flags);
			break;
		case OP_RECV:
			on_recv(c, cqe.res, cqe.flags);
			break;
		case OP_SEND_NOW:
			on_send_now(c, cqe.res);
			break;
		case OP_SEND:
			on_send(c, cqe.res);
			break;
		case OP_CANCEL:
			c->inflight--;
			touch(c);
			break;
		case OP_TERM:
			return false;
		}
	}
	return true;
}

/* Frees connections that nothing was under way for a turn ago. */
static void leave(void)
{
	for (unsigned i = 0; i < turn.leaving.len; i++) {
		struct conn *c = turn.leaving.conns[i];

		c->leaving = false;
		if (!c->touched) /* else its last send was not over, and conn_turn comes again */
			conn_free(c);
	}
	turn.leaving.len = 0;
}

int main(int argc, char **argv)
{
	int term = termination_fd();

	raise_files();
	ring_init();
	pool_init();
	listener = listen_from_args(argc, argv, 0);
	arm_accept();
	sqe_get(IORING_OP_POLL_ADD, term, NULL, OP_TERM)->poll32_events = POLLIN;

	for (;;) {
		if (unsubmitted() || *ring.chead == __atomic_load_n(ring.ctail, __ATOMIC_ACQUIRE))
			enter(turn.leaving.len ? 0 : 1, IORING_ENTER_GETEVENTS);
		if (!drain())
			break;
		/* Completions that had no room are not to be missed. */
		while (__atomic_load_n(ring.flags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW) {
			enter(0, IORING_ENTER_GETEVENTS);
			if (!drain())
				goto end;
		}
		/* The sends of the last turn are over. */
		turn.iov = 0;
		pool_turn();
		leave();
		/* Those first whose bytes came last: they are in the caches. */
		for (unsigned i = turn.touched.len; i-- > 0;)
			conn_turn(turn.touched.conns[i]);
		turn.touched.len = 0;
	}
end:
	print_cpu();
	return 0;
}
