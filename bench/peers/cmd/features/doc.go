// Features measures what single features of io_uring give, each switched off or on
// against the same without that.
//
//	go run ./cmd/features                             # everything
//	go run ./cmd/features -parts library -features no-sqarray,spin -configs 64x16x64
//	go run ./cmd/features -parts trials -trials send-bundles,msg-ring -pairs 7
//
// There are two parts:
//
//	library  features the library has: kcmbench serve as it is by default, and with
//	         one feature switched the other way (-features NAME=off), under the load
//	         of kcmbench run; all servers in each round, by turns
//	trials   features that may not pay, so that the library does without some of them:
//	         small programs in C with raw system calls (c/trials), which measure a
//	         feature against the way without it, by turns in one process
//
// Everything goes into one table: a line has the base, the other way, and the median of
// the ratios other/base within rounds, with its bounds. Below 1 the other way is cheaper
// or quicker. What the kernel does not offer is listed below the table; that is no
// failure. See package rig for what CPU time per message is; in trials it is the time of
// the measured thread alone.
package main
