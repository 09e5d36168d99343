/*
 * Constants and layouts of io_uring that headers older than the kernel lack,
 * from include/uapi/linux/io_uring.h of Linux 6.18. A macro hides the
 * enumerator of the same name and value in newer headers.
 */
#ifndef ABI_H
#define ABI_H

#include <linux/io_uring.h>
#include <linux/time_types.h>

#define IORING_SETUP_NO_SQARRAY (1U << 16)	/* 6.6 */
#define IORING_ENTER_EXT_ARG_REG (1U << 6)	/* 6.13 */
#define IORING_RECVSEND_BUNDLE (1U << 4)	/* 6.10 */
#define IORING_SEND_ZC_REPORT_USAGE (1U << 3)	/* 6.2 */
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#define IORING_CQE_F_BUF_MORE (1U << 4)		/* 6.12 */
#define IORING_FEAT_RECVSEND_BUNDLE (1U << 14)	/* 6.10 */
#define IORING_FEAT_MIN_TIMEOUT (1U << 15)	/* 6.12 */
#define IOU_PBUF_RING_INC 2			/* 6.12 */
#define IORING_REGISTER_SEND_MSG_RING 31	/* 6.13 */
#define IORING_REGISTER_RESIZE_RINGS 33		/* 6.13 */
#define IORING_REGISTER_MEM_REGION 34		/* 6.13 */
#define IORING_MEM_REGION_TYPE_USER 1
#define IORING_MEM_REGION_REG_WAIT_ARG 1
#define IORING_REG_WAIT_TS (1U << 0)

/* struct io_uring_getevents_arg since 6.12 */
struct wait_arg {
	__u64 sigmask;
	__u32 sigmask_sz;
	__u32 min_wait_usec;
	__u64 ts;
};

/* struct io_uring_reg_wait */
struct reg_wait {
	struct __kernel_timespec ts;
	__u32 min_wait_usec;
	__u32 flags;
	__u64 sigmask;
	__u32 sigmask_sz;
	__u32 pad[3];
	__u64 pad2[2];
};

/* struct io_uring_region_desc */
struct region_desc {
	__u64 user_addr;
	__u64 size;
	__u32 flags;
	__u32 id;
	__u64 mmap_offset;
	__u64 resv[4];
};

/* struct io_uring_mem_region_reg */
struct mem_region_reg {
	__u64 region_uptr;
	__u64 flags;
	__u64 resv[2];
};

/* struct io_uring_buf_reg, whose flags old headers call pad */
struct buf_reg {
	__u64 ring_addr;
	__u32 ring_entries;
	__u16 bgid;
	__u16 flags;
	__u64 resv[3];
};

#endif
