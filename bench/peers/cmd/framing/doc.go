// Framing compares what cutting a stream into messages costs: kcm's parser, and the
// buffers of package bufio, gnet and netpoll, on memory. Package bench/peers/framing
// has the contestants and says what is the same for all.
//
//	go run ./cmd/framing                          # both sizes, both sets, about a minute
//	go run ./cmd/framing -rounds 15 -sizes 64 -sets read -ways kcm-batch,gnet-next
//
// All are at work in this process, by turns: in a round each cuts for some
// milliseconds, and the order rotates from round to round. What is counted is the time
// that the thread spent on a CPU, so that other programs only disturb by what they do
// to the caches and the clock. Each is compared with kcm-batch by the ratio within rounds;
// the table has the median of these ratios with bounds that need no assumption about
// the noise (package stats). What messages it delivered is checked for each, at the
// end.
//
// Memory that Go allocates is counted before the rounds, over all goroutines. What the
// collector does with it on other threads is in no figure.
//
// The end of the report says whether kcm-batch takes at most half the time of the best of
// its peers, and allocates nothing. What fails is printed as MISSED and does not make
// the program fail.
package main
