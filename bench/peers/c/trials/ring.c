/* The ring by raw system calls. */
#include "trial.h"
#include <sys/mman.h>
#include <sys/syscall.h>

void ring_map(struct ring *r, const struct io_uring_params *p)
{
	size_t sq_len = p->sq_off.array + p->sq_entries * sizeof(unsigned);
	size_t cq_len = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	uint8_t *rings;

	/* Without an array its offset is 0. */
	r->rings_len = sq_len > cq_len ? sq_len : cq_len;
	r->sqes_len = p->sq_entries * sizeof(*r->sqes);
	r->rings = rings = map(r->rings_len, r->fd, IORING_OFF_SQ_RING);
	r->sqes = map(r->sqes_len, r->fd, IORING_OFF_SQES);
	r->head = (unsigned *)(rings + p->sq_off.head);
	r->tail = (unsigned *)(rings + p->sq_off.tail);
	r->mask = *(unsigned *)(rings + p->sq_off.ring_mask);
	r->entries = p->sq_entries;
	r->chead = (unsigned *)(rings + p->cq_off.head);
	r->ctail = (unsigned *)(rings + p->cq_off.tail);
	r->cmask = *(unsigned *)(rings + p->cq_off.ring_mask);
	r->cqes = (struct io_uring_cqe *)(rings + p->cq_off.cqes);
	if (!(r->flags & IORING_SETUP_NO_SQARRAY)) {
		unsigned *array = (unsigned *)(rings + p->sq_off.array);

		for (unsigned i = 0; i < p->sq_entries; i++)
			array[i] = i;
	}
}

int ring_open(struct ring *r, unsigned sq, unsigned cq, unsigned flags)
{
	struct io_uring_params p = { .flags = flags | IORING_SETUP_CQSIZE, .cq_entries = cq };

	memset(r, 0, sizeof(*r));
	r->registered = -1;
	r->flags = flags;
	r->fd = (int)syscall(SYS_io_uring_setup, sq, &p);
	if (r->fd < 0)
		return -errno;
	r->features = p.features;
	ring_map(r, &p);
	return 0;
}

void ring_close(struct ring *r)
{
	munmap(r->rings, r->rings_len);
	munmap(r->sqes, r->sqes_len);
	if (r->registered >= 0) {
		struct io_uring_rsrc_update up = { .offset = (unsigned)r->registered };

		ring_register(r, IORING_UNREGISTER_RING_FDS, &up, 1);
	}
	close(r->fd);
	/* After the ring, which the kernel may still read it for. */
	if (r->region)
		munmap(r->region, 4096);
}

int ring_register(struct ring *r, unsigned op, void *arg, unsigned n)
{
	int res = (int)syscall(SYS_io_uring_register, r->fd, op, arg, n);

	return res < 0 ? -errno : res;
}

int ring_register_self(struct ring *r)
{
	struct io_uring_rsrc_update up = { .offset = -1U, .data = (unsigned)r->fd };
	int res = ring_register(r, IORING_REGISTER_RING_FDS, &up, 1);

	if (res < 0)
		return res;
	r->registered = (int)up.offset;
	return 0;
}

/* Every wait has a limit of 100 ms then, which none reaches. */
int ring_wait_mode(struct ring *r, enum wait_mode mode)
{
	r->mode = mode;
	r->ts.tv_nsec = 100 * 1000 * 1000;
	if (mode == WAIT_REG) {
		struct region_desc desc = { .size = 4096, .flags = IORING_MEM_REGION_TYPE_USER };
		struct mem_region_reg reg = { .flags = IORING_MEM_REGION_REG_WAIT_ARG };

		r->region = map(4096, -1, 0);
		memset(r->region, 0, 4096);
		desc.user_addr = (uintptr_t)r->region;
		reg.region_uptr = (uintptr_t)&desc;
		r->region->ts = r->ts;
		r->region->flags = IORING_REG_WAIT_TS;
		return ring_register(r, IORING_REGISTER_MEM_REGION, &reg, 1);
	}
	return 0;
}

static void enter(struct ring *r, unsigned wait, unsigned flags)
{
	unsigned submit = r->next - __atomic_load_n(r->head, __ATOMIC_ACQUIRE);
	struct wait_arg ext = { 0 };
	void *arg = NULL;
	size_t len = 0;
	int fd = r->fd;

	__atomic_store_n(r->tail, r->next, __ATOMIC_RELEASE);
	if (wait && r->mode == WAIT_EXT) {
		ext.ts = (uintptr_t)&r->ts;
		ext.min_wait_usec = r->min_wait_us;
		flags |= IORING_ENTER_EXT_ARG;
		arg = &ext;
		len = sizeof(ext);
	} else if (wait && r->mode == WAIT_REG) {
		/* The argument is an offset into the region: 0. */
		flags |= IORING_ENTER_EXT_ARG | IORING_ENTER_EXT_ARG_REG;
		len = sizeof(struct reg_wait);
	}
	if (r->registered >= 0) {
		fd = r->registered;
		flags |= IORING_ENTER_REGISTERED_RING;
	}
	if (syscall(SYS_io_uring_enter, fd, submit, wait, flags, arg, len) < 0 && errno != EINTR &&
	    errno != EAGAIN && errno != EBUSY && errno != ETIME)
		die("io_uring_enter");
}

void ring_enter(struct ring *r, unsigned wait)
{
	enter(r, wait, IORING_ENTER_GETEVENTS);
}

void ring_submit(struct ring *r)
{
	enter(r, 0, 0);
}

struct io_uring_sqe *ring_sqe(struct ring *r, int op, int fd, uint64_t user)
{
	struct io_uring_sqe *sqe;

	while (r->next - __atomic_load_n(r->head, __ATOMIC_ACQUIRE) == r->entries)
		ring_enter(r, 0);
	sqe = &r->sqes[r->next++ & r->mask];
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = (uint8_t)op;
	sqe->fd = fd;
	sqe->user_data = user;
	return sqe;
}

void ring_wait_cqe(struct ring *r, struct io_uring_cqe *cqe)
{
	while (!ring_next(r, cqe))
		ring_enter(r, 1);
}

void ring_drain(struct ring *r, unsigned n)
{
	struct io_uring_cqe cqe;

	if (n)
		ring_enter(r, n);
	while (n) {
		if (!ring_next(r, &cqe)) {
			ring_enter(r, 1);
			continue;
		}
		if (cqe.res < 0) {
			errno = -cqe.res;
			die("completion");
		}
		n--;
	}
}
