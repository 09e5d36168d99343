package recorded

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "AMQP", f: formats.AMQP,
		encoders:  []string{"github.com/rabbitmq/amqp091-go"},
		reference: "AMQP 0-9-1, sections 2.3.5, 4.2.2, 4.2.3, 4.2.6",
		messages: func(t *testing.T) (messages [][]byte) {
			for _, frameMax := range []int{4096, 1 << 17, 1 << 20} {
				messages = append(messages, amqpFrames(t, frameMax)...)
			}
			return append(messages, amqpHeartbeat(t)...)
		},
	})
}

// amqpFrames is what a client writes: the protocol header, a frame with each call, and
// with each message that it publishes a frame for the method, one for its properties, and
// bodies of frameMax bytes, the last shorter.
func amqpFrames(t *testing.T, frameMax int) (messages [][]byte) {
	near, far := pair(t)
	go amqpAnswer(far)
	w := new(writes)
	// frames are what the last call wrote, in frames of n bytes; the rest is one more.
	frames := func(n ...int) {
		b := slices.Concat(w.take()...)
		for _, n := range append(n, len(b)) {
			if n = min(n, len(b)); n > 0 {
				if b[n-1] != 0xce {
					t.Fatalf("a frame of %d bytes ends with %#x", n, b[n-1])
				}
				messages = append(messages, b[:n])
				b = b[n:]
			}
		}
	}
	c, err := amqp.Open(tapped{near, w}, amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "guest", Password: "guest"}}, Vhost: "/", FrameSize: frameMax,
	})
	if err != nil {
		t.Fatal(err)
	}
	// The protocol header, StartOk, TuneOk and Open are a Write each.
	messages = append(messages, w.take()...)
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	frames()
	rng := rand.New(rand.NewPCG(1, 1))
	for _, call := range []func() error{
		func() error { return ch.Qos(10, 0, false) },
		func() error { return ch.ExchangeDeclare("e", amqp.ExchangeTopic, true, false, false, false, nil) },
		func() error {
			_, err := ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-max-length": int32(10), "x": text(rng, 3000)})
			return err
		},
		func() error { return ch.QueueBind("q", "k.*", "e", false, nil) },
		func() error { _, err := ch.Consume("q", "c", false, false, false, false, nil); return err },
		func() error { return ch.Ack(1, true) },
		func() error { return ch.Reject(2, true) },
		ch.Tx, ch.TxCommit,
	} {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		frames()
	}
	for i, n := range sizes(rng, 1<<8, frameMax-8, 2*(frameMax-8)) {
		m := amqp.Publishing{Body: payload(rng, n)}
		if i%2 == 0 {
			m.ContentType, m.DeliveryMode, m.MessageId = "text/plain", amqp.Persistent, text(rng, 10)
			m.Timestamp, m.Headers = time.Unix(1e9, 0), amqp.Table{"n": int64(n)}
		}
		key := text(rng, i%250)
		if err := ch.PublishWithContext(context.Background(), "e", key, false, false, m); err != nil {
			t.Fatal(err)
		}
		// Type, channel, length; class, method, reserved, the exchange, the key, the bits;
		// the end.
		method := 7 + 2 + 2 + 2 + 2 + 1 + len(key) + 1 + 1
		var bodies []int
		all := 0
		for left := n; left > 0; left -= frameMax - 8 {
			bodies = append(bodies, min(left, frameMax-8)+8)
			all += bodies[len(bodies)-1]
		}
		total := 0
		for _, b := range w.messages {
			total += len(b)
		}
		frames(append([]int{method, total - method - all}, bodies...)...)
	}
	for _, closing := range []io.Closer{ch, c} {
		if err := closing.Close(); err != nil {
			t.Fatal(err)
		}
		frames()
	}
	return messages
}

// amqpHeartbeat is the heartbeat of a client that has nothing to say.
func amqpHeartbeat(t *testing.T) [][]byte {
	near, far := pair(t)
	go amqpAnswer(far)
	quiet := make(heartbeats, 1)
	c, err := amqp.Open(tapped{near, quiet}, amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "guest", Password: "guest"}}, Vhost: "/", Heartbeat: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case frame := <-quiet:
		return [][]byte{frame}
	case <-time.After(patience):
		t.Fatal("no heartbeat")
		return nil
	}
}

// heartbeats gets the first heartbeat that is written.
type heartbeats chan []byte

func (c heartbeats) Write(b []byte) (int, error) {
	if b[0] == 8 {
		select {
		case c <- slices.Clone(b):
		default:
		}
	}
	return len(b), nil
}

// amqpAnswer is a server that says yes to everything, until the connection ends.
func amqpAnswer(c net.Conn) {
	defer c.Close()
	method := func(channel, class, id uint16, arguments string) error {
		b := binary.BigEndian.AppendUint16([]byte{1}, channel)
		b = binary.BigEndian.AppendUint32(b, uint32(4+len(arguments)))
		b = binary.BigEndian.AppendUint16(b, class)
		b = binary.BigEndian.AppendUint16(b, id)
		_, err := c.Write(append(append(b, arguments...), 0xce))
		return err
	}
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return
	}
	err := method(0, 10, 10, "\x00\x09\x00\x00\x00\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US")
	// Arguments of the answer to a method, whose number is one more.
	answers := map[[2]uint16]string{
		{10, 40}: "\x00", {10, 50}: "", {20, 10}: "\x00\x00\x00\x00", {20, 40}: "", {40, 10}: "", {50, 10}: "\x01q\x00\x00\x00\x00\x00\x00\x00\x00",
		{50, 20}: "", {60, 10}: "", {60, 20}: "\x01c", {90, 10}: "", {90, 20}: "",
	}
	for err == nil {
		if _, err = io.ReadFull(c, head[:7]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
		if _, err = io.ReadFull(c, b); err != nil || head[0] != 1 {
			continue
		}
		channel := binary.BigEndian.Uint16(head[1:])
		called := [2]uint16{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])}
		if called == [2]uint16{10, 11} { // StartOk: frames of any length, as many heartbeats as the client likes
			err = method(channel, 10, 30, "\x00\x00\x00\x00\x00\x00\x00\x00")
		} else if answer, ok := answers[called]; ok {
			err = method(channel, called[0], called[1]+1, answer)
		}
	}
}
