// Datagrams measures an echo of UDP datagrams: how many a second, and how much of a
// processor's time the server spends on each, with package ring on io_uring and on epoll,
// with pieces of several datagrams (UDP_SEGMENT, UDP_GRO) and without, and with package net
// (ReadFromUDPAddrPort, WriteToUDPAddrPort).
//
//	go run ./bench/datagrams -rounds 10 -time 2s
//
// The server is a process of its own, so that its time is its own; each measurement starts
// one. The load is a closed loop: each of -flows sockets has -window datagrams under way and
// sends one for each that comes back. It is the same for all servers, on package ring. A
// round measures each server once, in an order that is turned by one with every round. What is
// printed are medians over the rounds, with the lowest and the highest.
//
// The load sends and receives in pieces, or with -plain one by one: a server that does not
// ask for pieces gets single datagrams in either case, but one that does gets pieces only
// from a load that sends them, or from a network interface that joins them.
package main
