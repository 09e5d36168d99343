/* Trials of ways to send. */
#include "trial.h"
#include <stdarg.h>
#include <sys/mman.h>

#define MAX_PIECES 16
#define DATA (256u << 10)

/* What one way sends, again and again. */
struct sender {
	struct ring *ring;
	int fd;		  /* or an index, of a registered file */
	uint8_t *data;
	unsigned size, n; /* pieces of size */
	unsigned flags;	  /* of the request */
	unsigned ioprio;
	struct iovec iov[MAX_PIECES];
	struct msghdr msg;
	struct io_uring_buf_ring *bufs;
	uint16_t tail;
	unsigned long copied, sent;
	struct sink *sink;
	size_t unread; /* bytes on each connection used */
};

/* What waits unread before it is drained; a socket takes that at once. */
#define UNREAD (128u << 10)

/* Discards what was sent, outside of what is measured. */
static void drain(void *arg)
{
	struct sender *s = arg;

	for (int i = 0; i < s->sink->n; i++)
		for (size_t left = s->unread; left;) {
			ssize_t n = recv(s->sink->peer[i], NULL, left, MSG_TRUNC);

			if (n <= 0)
				die("drain");
			left -= (size_t)n;
		}
	s->unread = 0;
}

static struct way sending(const char *name, unsigned per, void (*run)(void *), struct sender *s)
{
	unsigned batch = UNREAD / (s->size * (s->sink->n > 1 ? 1 : s->n));

	return (struct way){ name, per, run, s, batch < 1 ? 1 : batch > 64 ? 64 : batch, drain, NULL };
}

/* The text is overwritten by the fourth next call. */
static const char *text(const char *format, ...)
{
	static char buf[4][64];
	static unsigned i;
	va_list ap;

	va_start(ap, format);
	vsnprintf(buf[++i % 4], sizeof(buf[0]), format, ap);
	va_end(ap);
	return buf[i % 4];
}

static const char *bytes(unsigned n)
{
	return n >= 1024 ? text("%u KiB", n >> 10) : text("%u B", n);
}

static void sent_all(int32_t res, unsigned want)
{
	if (res < 0) {
		errno = -res;
		die("send");
	}
	check((unsigned)res == want, "a send was short");
}

static void wait_sent(struct sender *s, unsigned want)
{
	struct io_uring_cqe cqe;

	s->unread += want;
	ring_wait_cqe(s->ring, &cqe);
	sent_all(cqe.res, want);
}

static void run_send(void *arg)
{
	struct sender *s = arg;
	struct io_uring_sqe *sqe = ring_sqe(s->ring, IORING_OP_SEND, s->fd, 0);

	sqe->addr = (uintptr_t)s->data;
	sqe->len = s->size;
	sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
	sqe->flags = (uint8_t)s->flags;
	wait_sent(s, s->size);
}

/* One SEND per piece, linked: they must not overtake each other. */
static void run_send_each(void *arg)
{
	struct sender *s = arg;

	for (unsigned i = 0; i < s->n; i++) {
		struct io_uring_sqe *sqe = ring_sqe(s->ring, IORING_OP_SEND, s->fd, 0);

		sqe->addr = (uintptr_t)s->data + i * s->size;
		sqe->len = s->size;
		sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL | (i + 1 < s->n ? MSG_MORE : 0);
		sqe->flags = i + 1 < s->n ? IOSQE_IO_LINK : 0;
	}
	s->unread += s->n * s->size;
	ring_drain(s->ring, s->n);
}

static void run_sendmsg(void *arg)
{
	struct sender *s = arg;
	struct io_uring_sqe *sqe = ring_sqe(s->ring, IORING_OP_SENDMSG, s->fd, 0);

	/* Built each time, as a server does, and as buffers of a bundle are. */
	for (unsigned i = 0; i < s->n; i++) {
		s->iov[i].iov_base = s->data + i * s->size;
		s->iov[i].iov_len = s->size;
	}
	s->msg.msg_iov = s->iov;
	s->msg.msg_iovlen = s->n;
	sqe->addr = (uintptr_t)&s->msg;
	sqe->len = 1;
	sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
	wait_sent(s, s->n * s->size);
}

static void add_pieces(struct sender *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		struct io_uring_buf *b = &s->bufs->bufs[s->tail++ & (MAX_PIECES - 1)];

		b->addr = (uintptr_t)s->data + i * s->size;
		b->len = s->size;
		b->bid = (uint16_t)i;
	}
	__atomic_store_n(&s->bufs->tail, s->tail, __ATOMIC_RELEASE);
}

static void run_bundle(void *arg)
{
	struct sender *s = arg;
	struct io_uring_sqe *sqe;

	add_pieces(s);
	sqe = ring_sqe(s->ring, IORING_OP_SEND, s->fd, 0);
	sqe->ioprio = IORING_RECVSEND_BUNDLE;
	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
	wait_sent(s, s->n * s->size);
}

static void run_zc(void *arg)
{
	struct sender *s = arg;
	struct io_uring_sqe *sqe = ring_sqe(s->ring, IORING_OP_SEND_ZC, s->fd, 0);
	struct io_uring_cqe cqe;

	sqe->addr = (uintptr_t)s->data;
	sqe->len = s->size;
	sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
	sqe->ioprio = (uint16_t)(s->ioprio | IORING_SEND_ZC_REPORT_USAGE);
	ring_wait_cqe(s->ring, &cqe);
	sent_all(cqe.res, s->size);
	if (!(cqe.flags & IORING_CQE_F_MORE))
		return;
	ring_wait_cqe(s->ring, &cqe);
	check(cqe.flags & IORING_CQE_F_NOTIF, "want a notification");
	s->sent++;
	if ((unsigned)cqe.res & IORING_NOTIF_USAGE_ZC_COPIED)
		s->copied++;
}

static void run_many(void *arg)
{
	struct sender *s = arg;

	for (unsigned i = 0; i < s->n; i++) {
		struct io_uring_sqe *sqe = ring_sqe(s->ring, IORING_OP_SEND, s->sink->fd[i], 0);

		sqe->addr = (uintptr_t)s->data;
		sqe->len = s->size;
		sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
	}
	s->unread += s->size;
	ring_drain(s->ring, s->n);
}

static void run_direct(void *arg)
{
	struct sender *s = arg;

	s->unread += s->size;
	for (unsigned i = 0; i < s->n; i++) {
		ssize_t n = send(s->sink->fd[i], s->data, s->size, MSG_NOSIGNAL | MSG_DONTWAIT);

		sent_all(n < 0 ? -errno : (int32_t)n, s->size);
	}
}

/* Receives that find nothing: little more than what a request itself costs. */
static void run_nothing(void *arg)
{
	struct sender *s = arg;
	struct io_uring_cqe cqe;

	for (unsigned i = 0; i < s->n; i++) {
		struct io_uring_sqe *sqe = ring_sqe(s->ring, IORING_OP_RECV, s->fd, 0);

		sqe->addr = (uintptr_t)s->data;
		sqe->len = s->size;
		sqe->msg_flags = MSG_DONTWAIT;
		sqe->flags = (uint8_t)s->flags;
	}
	for (unsigned i = 0; i < s->n; i++) {
		ring_wait_cqe(s->ring, &cqe);
		check(cqe.res == -EAGAIN, "want nothing");
	}
}

static const unsigned small[] = { 64, 1024, 4096 };

void trial_fixed_files(void)
{
	const char *name = "fixed-files";
	struct sink sink;
	struct ring ring;
	uint8_t *data = map(DATA, -1, 0);
	struct io_uring_rsrc_update up = { 0 };
	struct sender plain, fixed;
	int err;

	if ((err = ring_open(&ring, 64, 256, BASE_FLAGS)) < 0) {
		skip(name, "ring", err);
		return;
	}
	sink_open(&sink, 1, false);
	if ((err = ring_register(&ring, IORING_REGISTER_FILES, sink.fd, 1)) < 0) {
		skip(name, "fixed", err);
		goto out;
	}
	plain = (struct sender){ .ring = &ring, .fd = sink.fd[0], .data = data, .size = 64, .n = 16 };
	fixed = plain;
	fixed.fd = 0;
	fixed.flags = IOSQE_FIXED_FILE;
	compare(name, "RECV that finds nothing, 16 at a time",
		(struct way[]){ { "descriptor", 16, run_nothing, &plain, 0, NULL, NULL },
				{ "fixed", 16, run_nothing, &fixed, 0, NULL, NULL } }, 2);
	for (int i = 0; i < 3; i++) {
		plain = (struct sender){ .ring = &ring, .fd = sink.fd[0], .data = data, .size = small[i],
					  .n = 1, .sink = &sink };
		fixed = plain;
		fixed.fd = 0;
		fixed.flags = IOSQE_FIXED_FILE;
		compare(name, text("SEND of %s", bytes(small[i])),
			(struct way[]){ sending("descriptor", 1, run_send, &plain),
					sending("fixed", 1, run_send, &fixed) }, 2);
	}
	for (int i = 0; i < 2; i++) {
		struct echo ways[] = {
			{ "descriptor", .conns = 64, .size = 64, .buf_len = 32 << 10, .bufs = 512 },
			{ "fixed", .conns = 64, .size = 64, .buf_len = 32 << 10, .bufs = 512, .fixed = true },
		};

		ways[0].depth = ways[1].depth = i ? 16 : 1;
		echo_lockstep(name, i ? "64 x 16 x 64 B" : "64 x 1 x 64 B", ways, 2);
	}
	for (int round = 0; round < opt.rounds; round++) {
		uint64_t start = cpu_ns();
		int none = -1;

		for (int i = 0; i < 1000; i++) {
			up.data = (uintptr_t)sink.fd;
			check(ring_register(&ring, IORING_REGISTER_FILES_UPDATE, &up, 1) == 1, "register a file");
			up.data = (uintptr_t)&none;
			check(ring_register(&ring, IORING_REGISTER_FILES_UPDATE, &up, 1) == 1, "remove a file");
		}
		sample(name, "a connection comes and goes", "fixed", "CPU ns/op", round,
		       (double)(cpu_ns() - start) / 1000);
	}
out:
	sink_close(&sink);
	ring_close(&ring);
	munmap(data, DATA);
}

void trial_send_bundles(void)
{
	const char *name = "send-bundles";
	static const unsigned counts[] = { 1, 4, 16 };
	struct buf_reg reg = { .ring_entries = MAX_PIECES };
	struct sink sink;
	struct ring ring;
	struct sender s = { .ring = &ring };
	int err;

	if ((err = ring_open(&ring, 64, 256, BASE_FLAGS)) < 0) {
		skip(name, "ring", err);
		return;
	}
	sink_open(&sink, 1, false);
	s.fd = sink.fd[0];
	s.sink = &sink;
	s.data = map(DATA, -1, 0);
	s.bufs = map(MAX_PIECES * sizeof(struct io_uring_buf), -1, 0);
	reg.ring_addr = (uintptr_t)s.bufs;
	err = ring_register(&ring, IORING_REGISTER_PBUF_RING, &reg, 1);
	if (!err && !(ring.features & IORING_FEAT_RECVSEND_BUNDLE))
		err = -EINVAL;
	if (err) {
		skip(name, "bundle", err);
		goto out;
	}
	for (int i = 0; i < 3; i++)
		for (int k = 0; k < 3; k++) {
			s.size = small[i];
			s.n = counts[k];
			compare(name, text("%u x %s", s.n, bytes(s.size)),
				(struct way[]){ sending("SENDMSG", 1, run_sendmsg, &s),
						sending("bundle", 1, run_bundle, &s),
						sending("SEND each", 1, run_send_each, &s) }, 3);
		}
out:
	sink_close(&sink);
	ring_close(&ring);
	munmap(s.data, DATA);
	munmap(s.bufs, MAX_PIECES * sizeof(struct io_uring_buf));
}

void trial_send_zc(void)
{
	const char *name = "send-zc";
	static const unsigned sizes[] = { 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10 };
	struct sink sink;
	struct ring ring;
	uint8_t *data = map(DATA, -1, 0);
	struct iovec iov = { data, DATA };
	struct sender plain = { .ring = &ring, .data = data }, zc, fixed;
	unsigned long copied = 0, sent = 0;
	int err, ways = 3;

	memset(data, 1, DATA);
	if ((err = ring_open(&ring, 64, 256, BASE_FLAGS)) < 0) {
		skip(name, "ring", err);
		return;
	}
	sink_open(&sink, 1, true);
	if ((err = ring_register(&ring, IORING_REGISTER_BUFFERS, &iov, 1)) < 0) {
		skip(name, "SEND_ZC fixed", err);
		ways = 2;
	}
	plain.fd = sink.fd[0];
	for (int i = 0; i < 5; i++) {
		plain.size = sizes[i];
		zc = fixed = plain;
		fixed.ioprio = IORING_RECVSEND_FIXED_BUF;
		compare(name, bytes(sizes[i]),
			(struct way[]){ { "SEND", 1, run_send, &plain, 0, NULL, NULL },
					{ "SEND_ZC", 1, run_zc, &zc, 0, NULL, NULL },
					{ "SEND_ZC fixed", 1, run_zc, &fixed, 0, NULL, NULL } }, ways);
		copied += zc.copied + fixed.copied;
		sent += zc.sent + fixed.sent;
	}
	printf("note|%s|all|the kernel copied %.1f %% of the zero-copy sends\n", name,
	       sent ? 100.0 * (double)copied / (double)sent : 0.0);
	sink_close(&sink);
	ring_close(&ring);
	munmap(data, DATA);
}

void trial_direct_send(void)
{
	const char *name = "direct-send";
	static const unsigned counts[] = { 1, 20 };
	struct ring ring;
	struct sender s = { .ring = &ring };
	int err;

	if ((err = ring_open(&ring, 64, 256, BASE_FLAGS)) < 0) {
		skip(name, "ring", err);
		return;
	}
	s.data = map(DATA, -1, 0);
	for (int k = 0; k < 2; k++) {
		struct sink sink;

		sink_open(&sink, (int)counts[k], false);
		s.sink = &sink;
		s.n = counts[k];
		for (int i = 0; i < 3; i++) {
			s.size = small[i];
			compare(name, text("%u of %s", s.n, bytes(s.size)),
				(struct way[]){ sending("SEND", s.n, run_many, &s),
						sending("send(2)", s.n, run_direct, &s) }, 2);
		}
		sink_close(&sink);
	}
	ring_close(&ring);
	munmap(s.data, DATA);
}
