/*
 * len32 echo server on io_uring: one thread, one ring, raw system calls, Linux
 * 6.1 or newer (DEFER_TASKRUN).
 *
 * One turn of the loop is one io_uring_enter: it submits what the last turn
 * made, waits for at least one completion and runs the kernel's deferred work.
 * Connections come from one multishot accept, bytes from one multishot recv per
 * connection out of a shared ring of provided buffers. Whole frames of a chunk
 * are sent straight from that buffer; what cannot leave at once is copied to
 * the connection and the buffer goes back. A connection has one send under way.
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

#define SQ_ENTRIES 1024u
#define CQ_ENTRIES 8192u
#define POOL_BUFS 512u /* a power of two */
#define POOL_BUF_LEN (32u << 10)
#define POOL_GROUP 0
#define FIRST_BUFFER (64u << 10)
#define BACKLOG (1u << 20) /* unsent bytes that end multishot receiving */

/* Low bits of user_data; the rest is the connection. */
enum { OP_ACCEPT, OP_TERM, OP_RECV, OP_SEND, OP_CANCEL, OP_MASK = 7 };

enum armed { NOT_ARMED, MULTISHOT, DIRECT };

struct conn {
	int fd;
	unsigned inflight; /* requests the kernel has; freed at 0 */
	enum armed armed;  /* the receive under way */
	bool direct;	   /* receive directly from now on */
	bool cancelled;	   /* the multishot was asked to end */
	bool ended;	   /* the client sends no more */
	bool failed;	   /* shut down, waits for inflight to be 0 */
	struct buf in;	   /* received; not moved while armed is DIRECT */
	struct buf out;	   /* being sent, unless send_bid says a pool buffer is */
	const uint8_t *send;
	size_t send_left; /* a send is under way while not 0 */
	int send_bid;
};

static struct {
	int fd;
	unsigned *head, *tail, mask, entries; /* submission */
	unsigned *chead, *ctail, cmask;	      /* completion */
	unsigned next;			      /* our tail, published by enter */
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static struct {
	struct io_uring_buf_ring *ring;
	uint8_t *bufs;
	uint16_t tail;
	unsigned held; /* by sends */
} pool;

static int listener;

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
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	size_t sq_len, cq_len;
	unsigned *array;
	uint8_t *rings;

	ring.fd = (int)syscall(SYS_io_uring_setup, SQ_ENTRIES, &p);
	if (ring.fd < 0)
		die("io_uring_setup");
	/* Every kernel that knows DEFER_TASKRUN has both rings in one mapping. */
	sq_len = p.sq_off.array + p.sq_entries * sizeof(unsigned);
	cq_len = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	rings = map(sq_len > cq_len ? sq_len : cq_len, ring.fd, IORING_OFF_SQ_RING);
	ring.sqes = map(p.sq_entries * sizeof(*ring.sqes), ring.fd, IORING_OFF_SQES);
	ring.head = (unsigned *)(rings + p.sq_off.head);
	ring.tail = (unsigned *)(rings + p.sq_off.tail);
	ring.mask = *(unsigned *)(rings + p.sq_off.ring_mask);
	ring.entries = p.sq_entries;
	ring.chead = (unsigned *)(rings + p.cq_off.head);
	ring.ctail = (unsigned *)(rings + p.cq_off.tail);
	ring.cmask = *(unsigned *)(rings + p.cq_off.ring_mask);
	ring.cqes = (struct io_uring_cqe *)(rings + p.cq_off.cqes);
	array = (unsigned *)(rings + p.sq_off.array);
	for (unsigned i = 0; i < p.sq_entries; i++)
		array[i] = i;
}

/* Submits everything and waits for `wait` completions. */
static void enter(unsigned wait)
{
	unsigned submit = ring.next - __atomic_load_n(ring.head, __ATOMIC_ACQUIRE);

	__atomic_store_n(ring.tail, ring.next, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring.fd, submit, wait, IORING_ENTER_GETEVENTS, NULL, 0) < 0 &&
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

static void pool_return(unsigned bid)
{
	struct io_uring_buf *b = &pool.ring->bufs[pool.tail++ & (POOL_BUFS - 1)];

	b->addr = (uintptr_t)(pool.bufs + (size_t)bid * POOL_BUF_LEN);
	b->len = POOL_BUF_LEN;
	b->bid = (uint16_t)bid;
	__atomic_store_n(&pool.ring->tail, pool.tail, __ATOMIC_RELEASE);
}

static void pool_init(void)
{
	struct io_uring_buf_reg reg = { .ring_entries = POOL_BUFS, .bgid = POOL_GROUP };

	pool.ring = map(POOL_BUFS * sizeof(struct io_uring_buf), -1, 0);
	pool.bufs = map((size_t)POOL_BUFS * POOL_BUF_LEN, -1, 0);
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

static void arm_send(struct conn *c)
{
	struct io_uring_sqe *sqe = sqe_get(IORING_OP_SEND, c->fd, c, OP_SEND);

	sqe->addr = (uintptr_t)c->send;
	sqe->len = (uint32_t)c->send_left;
	sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
}

static void start_send(struct conn *c, const uint8_t *data, size_t len, int bid)
{
	c->send = data;
	c->send_left = len;
	c->send_bid = bid;
	if (bid >= 0)
		pool.held++;
	arm_send(c);
}

static void end_send(struct conn *c)
{
	c->send_left = 0;
	if (c->send_bid >= 0) {
		pool_return((unsigned)c->send_bid);
		pool.held--;
	}
}

/* Shutting down completes every request that is under way. */
static void conn_fail(struct conn *c)
{
	c->failed = true;
	shutdown(c->fd, SHUT_RDWR);
}

/* Makes the requests that the state of c asks for; may free c. */
static void conn_advance(struct conn *c)
{
	if (!c->failed && buf_scan(&c->in))
		conn_fail(c);
	if (!c->failed && c->in.whole && !c->send_left && c->armed != DIRECT) {
		struct buf full = c->in;

		c->in = c->out;
		c->out = full;
		buf_clear(&c->in);
		buf_append(&c->in, full.data + full.whole, full.len - full.whole);
		c->in.need = full.need;
		start_send(c, full.data, full.whole, -1);
	}
	if (!c->failed && (c->in.need > POOL_BUF_LEN || c->in.len > BACKLOG))
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
	if (!c->inflight) {
		close(c->fd);
		free(c->in.data);
		free(c->out.data);
		free(c);
	}
}

static void on_chunk(struct conn *c, const uint8_t *data, size_t len, unsigned bid)
{
	size_t whole = 0, need;

	/* Sends hold at most half of the pool: the other half returns at once. */
	if (!c->failed && !c->in.len && !c->send_left && pool.held < POOL_BUFS / 2) {
		if (scan(data, len, &whole, &need))
			conn_fail(c);
		else if (whole)
			start_send(c, data, whole, (int)bid);
	}
	if (!c->failed)
		buf_append(&c->in, data + whole, len - whole);
	if (!c->send_left || c->send_bid != (int)bid)
		pool_return(bid);
}

static void on_recv(struct conn *c, int res, unsigned flags)
{
	if (!(flags & IORING_CQE_F_MORE)) {
		c->inflight--;
		c->armed = NOT_ARMED;
	}
	if (flags & IORING_CQE_F_BUFFER)
		on_chunk(c, pool.bufs + (size_t)(flags >> IORING_CQE_BUFFER_SHIFT) * POOL_BUF_LEN,
			 res > 0 ? (size_t)res : 0, flags >> IORING_CQE_BUFFER_SHIFT);
	else if (res > 0)
		c->in.len += (size_t)res;
	if (res == 0)
		c->ended = true;
	else if (res < 0 && res != -ENOBUFS && res != -ECANCELED && res != -EINTR && !c->failed)
		conn_fail(c);
	conn_advance(c);
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
	if (c->send_left && !c->failed)
		arm_send(c);
	else
		end_send(c);
	conn_advance(c);
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
	conn_advance(c);
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
		unsigned head, tail;

		enter(1);
		head = *ring.chead;
		tail = __atomic_load_n(ring.ctail, __ATOMIC_ACQUIRE);
		for (; head != tail; head++) {
			struct io_uring_cqe cqe = ring.cqes[head & ring.cmask];
			struct conn *c = (struct conn *)(uintptr_t)(cqe.user_data & ~(uint64_t)OP_MASK);

			/* Handling may enter the kernel, so give the entry back first. */
			__atomic_store_n(ring.chead, head + 1, __ATOMIC_RELEASE);
			switch (cqe.user_data & OP_MASK) {
			case OP_ACCEPT:
				on_accept(cqe.res, cqe.flags);
				break;
			case OP_RECV:
				on_recv(c, cqe.res, cqe.flags);
				break;
			case OP_SEND:
				on_send(c, cqe.res);
				break;
			case OP_CANCEL:
				c->inflight--;
				conn_advance(c);
				break;
			case OP_TERM:
				print_cpu();
				return 0;
			}
		}
	}
}
