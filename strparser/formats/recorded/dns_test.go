package recorded

import (
	"io"
	"math/rand/v2"
	"testing"

	"github.com/miekg/dns"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "DNS", f: formats.DNS,
		encoders:  []string{"github.com/miekg/dns"},
		reference: "RFC 1035, section 4.2.2; RFC 7766",
		messages:  dnsMessages,
		decoder: func(stream io.Reader) func() error {
			c := &dns.Conn{Conn: conn{Reader: stream}}
			return func() error {
				_, err := c.ReadMsg()
				return err
			}
		},
	})
}

// dnsMessages is queries and answers, and then queries that are padded (RFC 7830) to a
// size. Each is one Write.
func dnsMessages(t *testing.T) [][]byte {
	rng := rand.New(rand.NewPCG(1, 1))
	w := new(writes)
	c := &dns.Conn{Conn: conn{Writer: w}}
	id := uint16(0)
	write := func(m *dns.Msg) {
		id++
		m.Id = id
		if err := c.WriteMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	write(new(dns.Msg)) // a header without a question
	write(new(dns.Msg).SetQuestion(".", dns.TypeNS))
	for _, rr := range []string{
		"example.org. 300 IN A 192.0.2.1",
		"example.org. 300 IN AAAA 2001:db8::1",
		"example.org. 300 IN MX 10 mail.example.org.",
		`example.org. 300 IN TXT "one" "two"`,
		"example.org. 300 IN SOA ns.example.org. admin.example.org. 1 7200 3600 1209600 300",
		"_sip._tcp.example.org. 300 IN SRV 1 2 5060 sip.example.org.",
	} {
		answer, err := dns.NewRR(rr)
		if err != nil {
			t.Fatal(err)
		}
		query := new(dns.Msg).SetQuestion(answer.Header().Name, answer.Header().Rrtype)
		write(query)
		reply := new(dns.Msg).SetReply(query)
		reply.Answer = []dns.RR{answer, answer}
		reply.Compress = true
		write(reply)
	}
	padded := func(n int) *dns.Msg {
		m := new(dns.Msg).SetQuestion("example.org.", dns.TypeA)
		m.SetEdns0(4096, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, n)}}
		return m
	}
	least := padded(0).Len()
	for _, n := range sizes(rng, 1<<7, 1<<8, 1<<15, dns.MaxMsgSize-1) {
		write(padded(max(n-least, 0)))
	}
	return w.messages
}
