/* Trials of rings themselves: set-up, waits, messages between rings, overflow. */
#define _GNU_SOURCE
#include "trial.h"
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static void nops(struct ring *r, unsigned n)
{
	struct io_uring_cqe cqe;

	for (unsigned i = 0; i < n; i++)
		ring_sqe(r, IORING_OP_NOP, -1, 0);
	ring_enter(r, n);
	while (n)
		if (ring_next(r, &cqe))
			n--;
		else
			ring_enter(r, 1);
}

static void run_nop(void *arg)
{
	nops(arg, 1);
}

static void run_nops(void *arg)
{
	nops(arg, 16);
}

#define MAX_KINDS 8

struct kind {
	const char *name;
	unsigned flags;
	bool register_ring;
	enum wait_mode mode;
};

static int kind_open(struct ring *r, const struct kind *k)
{
	unsigned flags = k->flags & IORING_SETUP_COOP_TASKRUN ? 0 : BASE_FLAGS;
	int err = ring_open(r, 64, 256, flags | k->flags | IORING_SETUP_R_DISABLED);

	if (err < 0)
		return err;
	err = ring_wait_mode(r, k->mode);
	if (!err)
		err = ring_register(r, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (!err && k->register_ring)
		err = ring_register_self(r);
	if (err < 0)
		ring_close(r);
	return err < 0 ? err : 0;
}

/* NOPs on rings of every kind; the first is the base. */
static void compare_nops(const char *trial, const struct kind *kinds, int n)
{
	struct way ways[MAX_KINDS] = { 0 };
	struct ring rings[MAX_KINDS];
	int m = 0;

	for (int i = 0; i < n; i++) {
		int err = kind_open(&rings[m], &kinds[i]);

		if (err < 0) {
			skip(trial, kinds[i].name, err);
			continue;
		}
		ways[m] = (struct way){ kinds[i].name, 1, run_nop, &rings[m], 0, NULL, NULL };
		m++;
	}
	compare(trial, "NOP", ways, m);
	for (int i = 0; i < m; i++) {
		ways[i].run = run_nops;
		ways[i].per = 16;
	}
	compare(trial, "16 NOPs", ways, m);
	for (int i = 0; i < m; i++)
		ring_close(&rings[i]);
}

/* The same with an echo, in lockstep or between two threads. */
static void compare_echoes(const char *trial, const struct kind *kinds, int n, bool lockstep)
{
	static const struct {
		const char *load;
		int conns, depth;
	} loads[] = { { "64 x 1 x 64 B", 64, 1 }, { "64 x 16 x 64 B", 64, 16 }, { "1 x 1 x 64 B", 1, 1 } };
	struct echo echoes[MAX_KINDS];

	for (int i = 0; i < 3; i++) {
		for (int k = 0; k < n; k++)
			echoes[k] = (struct echo){ kinds[k].name, .setup = kinds[k].flags,
						   .conns = loads[i].conns, .depth = loads[i].depth,
						   .size = 64, .buf_len = 32 << 10, .bufs = 512,
						   .register_ring = kinds[k].register_ring,
						   .mode = kinds[k].mode };
		if (lockstep)
			echo_lockstep(trial, loads[i].load, echoes, n);
		else
			echo_compare(trial, loads[i].load, echoes, n);
	}
}

void trial_registered_waits(void)
{
	static const struct kind kinds[] = {
		{ "argument", .mode = WAIT_EXT },
		{ "registered", .mode = WAIT_REG },
		{ "no limit", .mode = WAIT_PLAIN },
	};

	compare_nops("registered-waits", kinds, 3);
	compare_echoes("registered-waits", kinds, 3, false);
}

void trial_setup_flags(void)
{
	static const struct kind kinds[] = {
		{ "DEFER_TASKRUN", .flags = 0 },
		{ "registered ring", .register_ring = true },
		{ "NO_SQARRAY", .flags = IORING_SETUP_NO_SQARRAY },
		{ "both", .flags = IORING_SETUP_NO_SQARRAY, .register_ring = true },
		{ "COOP_TASKRUN", .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN },
	};
	/* In lockstep the clients' system calls would run the work of the latter. */
	static const struct kind apart[] = {
		{ "DEFER_TASKRUN", .flags = 0 },
		{ "COOP_TASKRUN", .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN },
	};

	compare_nops("setup", kinds, 5);
	compare_echoes("setup", kinds, 4, true);
	compare_echoes("setup", apart, 2, false);
}

/* A thread that waits on a ring of its own and says when it woke. */
struct receiver {
	struct ring ring;
	int event; /* an eventfd that it reads */
	int ready, stop;
	int busy; /* it looks for completions and does not sleep */
	uint64_t woke; /* time of the last, 0 until then */
};

enum { EVENT = 1, MESSAGE = 2 };

static void arm_event(struct receiver *r, uint64_t *value)
{
	struct io_uring_sqe *sqe = ring_sqe(&r->ring, IORING_OP_READ, r->event, EVENT);

	sqe->addr = (uintptr_t)value;
	sqe->len = sizeof(*value);
}

static void *receiver_run(void *arg)
{
	struct receiver *r = arg;
	struct io_uring_cqe cqe;
	uint64_t value;

	pin(opt.peer_cpu);
	if (ring_open(&r->ring, 8, 64, BASE_FLAGS) < 0)
		die("ring of the receiver");
	arm_event(r, &value);
	ring_enter(&r->ring, 0);
	__atomic_store_n(&r->ready, 1, __ATOMIC_RELEASE);
	for (;;) {
		while (!ring_next(&r->ring, &cqe))
			ring_enter(&r->ring, !__atomic_load_n(&r->busy, __ATOMIC_RELAXED));
		if (cqe.user_data == EVENT)
			arm_event(r, &value);
		if (__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE))
			break;
		__atomic_store_n(&r->woke, now_ns(), __ATOMIC_RELEASE);
	}
	ring_close(&r->ring);
	return NULL;
}

enum { BY_EVENT, BY_RING, BY_REGISTER, WAYS_TO_WAKE };
static const char *const wake_names[] = { "eventfd", "MSG_RING", "MSG_RING without a ring" };

static int wake(int way, struct ring *own, struct receiver *r)
{
	uint64_t one = 1;
	struct io_uring_cqe cqe;
	struct io_uring_sqe *sqe, alone;

	switch (way) {
	case BY_EVENT:
		return write(r->event, &one, sizeof(one)) < 0 ? -errno : 0;
	case BY_RING:
		sqe = ring_sqe(own, IORING_OP_MSG_RING, r->ring.fd, 0);
		sqe->off = MESSAGE; /* user_data there */
		ring_wait_cqe(own, &cqe);
		return cqe.res;
	default:
		memset(&alone, 0, sizeof(alone));
		alone.opcode = IORING_OP_MSG_RING;
		alone.fd = r->ring.fd;
		alone.off = MESSAGE;
		if (syscall(SYS_io_uring_register, -1, IORING_REGISTER_SEND_MSG_RING, &alone, 1) < 0)
			return -errno;
		return 0;
	}
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* As many as fit the time, each when the receiver had time to go to sleep. */
static void wake_round(const char *name, const char *load, int way, struct ring *own, struct receiver *r, int round)
{
	enum { MAX = 20000 };
	static uint64_t took[MAX], late[MAX];
	uint64_t end = now_ns() + (uint64_t)opt.ms * 1000000;
	int n = 0;

	while (n < MAX && now_ns() < end) {
		uint64_t start, sent, woke, pause = now_ns() + 20000;

		while (now_ns() < pause)
			;
		__atomic_store_n(&r->woke, 0, __ATOMIC_RELEASE);
		start = now_ns();
		if (wake(way, own, r) < 0)
			die("wake");
		sent = now_ns();
		while (!(woke = __atomic_load_n(&r->woke, __ATOMIC_ACQUIRE)))
			;
		took[n] = sent - start;
		late[n++] = woke - start;
	}
	qsort(took, (size_t)n, sizeof(*took), by_size);
	qsort(late, (size_t)n, sizeof(*late), by_size);
	sample(name, load, wake_names[way], "sender ns", round, (double)took[n / 2]);
	sample(name, load, wake_names[way], "latency ns", round, (double)late[n / 2]);
}

void trial_msg_ring(void)
{
	const char *name = "msg-ring";
	struct receiver r = { .event = eventfd(0, EFD_CLOEXEC) };
	bool offered[WAYS_TO_WAKE];
	struct ring own;
	pthread_t t;
	int err;

	if (r.event < 0)
		die("eventfd");
	if ((err = ring_open(&own, 8, 64, BASE_FLAGS)) < 0) {
		skip(name, "ring", err);
		return;
	}
	if (pthread_create(&t, NULL, receiver_run, &r))
		die("pthread_create");
	while (!__atomic_load_n(&r.ready, __ATOMIC_ACQUIRE))
		;
	for (int w = 0; w < WAYS_TO_WAKE; w++) {
		err = wake(w, &own, &r);
		offered[w] = err >= 0;
		if (err < 0)
			skip(name, wake_names[w], err);
	}
	for (int busy = 0; busy < 2; busy++) {
		__atomic_store_n(&r.busy, busy, __ATOMIC_RELAXED);
		if (wake(BY_EVENT, &own, &r) < 0) /* it heeds that when it wakes */
			die("wake");
		for (int round = 0; round < opt.rounds; round++)
			for (int i = 0; i < WAYS_TO_WAKE; i++) {
				int way = (i + round) % WAYS_TO_WAKE;

				if (offered[way])
					wake_round(name, busy ? "tell a thread that looks" : "wake a thread that sleeps",
						   way, &own, &r, round);
			}
	}
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELEASE);
	if (wake(BY_EVENT, &own, &r) < 0 || pthread_join(t, NULL))
		die("end of the receiver");
	ring_close(&own);
	close(r.event);
}

/* Takes r from one size of the completion queue to another. */
static int resize(struct ring *r, unsigned cq)
{
	struct io_uring_params p = { .flags = IORING_SETUP_CQSIZE, .sq_entries = 256, .cq_entries = cq };
	void *rings = r->rings, *sqes = r->sqes;
	size_t rings_len = r->rings_len, sqes_len = r->sqes_len;
	int err = ring_register(r, IORING_REGISTER_RESIZE_RINGS, &p, 1);

	if (err < 0)
		return err;
	munmap(rings, rings_len);
	munmap(sqes, sqes_len);
	ring_map(r, &p);
	return 0;
}

static void run_resize(void *arg)
{
	if (resize(arg, 8192) < 0 || resize(arg, 4096) < 0)
		die("resize");
}

static void run_open(void *arg)
{
	struct ring r;

	(void)arg;
	if (ring_open(&r, 256, 4096, BASE_FLAGS | IORING_SETUP_NO_SQARRAY) < 0)
		die("io_uring_setup");
	ring_close(&r);
}

void trial_resize(void)
{
	const char *name = "resize";
	struct ring r;
	int err = ring_open(&r, 256, 4096, BASE_FLAGS | IORING_SETUP_NO_SQARRAY);

	if (err < 0) {
		skip(name, "ring", err);
		return;
	}
	if ((err = resize(&r, 4096)) < 0)
		skip(name, "resize", err);
	else {
		nops(&r, 16); /* it still works */
		compare(name, "CQ of 4096 to 8192 and back",
			(struct way[]){ { "a ring opened and closed", 1, run_open, NULL, 1, NULL, NULL },
					{ "resize", 2, run_resize, &r, 1, NULL, NULL } }, 2);
		nops(&r, 16);
	}
	ring_close(&r);
}

/* Completions that are all there before the first is taken. */
static void run_pile(void *arg)
{
	struct ring *r = arg;
	struct io_uring_cqe cqe;
	unsigned left = 256;

	for (int i = 0; i < 4; i++) {
		for (int k = 0; k < 64; k++)
			ring_sqe(r, IORING_OP_NOP, -1, 0);
		ring_submit(r);
	}
	while (left)
		if (ring_next(r, &cqe))
			left--;
		else
			ring_enter(r, 1);
}

void trial_overflow(void)
{
	struct ring wide, narrow;
	int err;

	if ((err = ring_open(&wide, 64, 512, BASE_FLAGS)) < 0 ||
	    (err = ring_open(&narrow, 64, 64, BASE_FLAGS)) < 0) {
		skip("overflow", "ring", err);
		return;
	}
	compare("overflow", "256 NOPs before the first completion is taken",
		(struct way[]){ { "CQ of 512", 256, run_pile, &wide, 0, NULL, NULL },
				{ "CQ of 64, 192 overflow", 256, run_pile, &narrow, 0, NULL, NULL } }, 2);
	ring_close(&wide);
	ring_close(&narrow);
}
