package recorded

import (
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "Kafka", f: formats.Kafka,
		encoders:  []string{"github.com/twmb/franz-go/pkg/kmsg"},
		reference: `Kafka protocol guide, "Size"`,
		messages:  kafkaMessages,
	})
}

// kafkaMessages is a request of each kind, in its first and last version, and produce
// requests of many sizes. Each is one call.
func kafkaMessages(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("recorded"))
	write := func(r kmsg.Request) {
		messages = append(messages, f.AppendRequest(nil, r, int32(len(messages))))
	}
	for _, n := range sizes(rng, 1<<8, 1<<16, 1<<20, 1<<24) {
		r := kmsg.NewPtrProduceRequest()
		r.SetVersion(9)
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic = "topic"
		partition := kmsg.NewProduceRequestTopicPartition()
		partition.Records = payload(rng, n)
		topic.Partitions = append(topic.Partitions, partition)
		r.Topics = append(r.Topics, topic)
		write(r)
	}
	for key := range int16(kmsg.MaxKey + 1) {
		r := kmsg.RequestForKey(key)
		if r == nil {
			continue
		}
		if key != 7 { // kmsg leaves out the length of version 0 of ControlledShutdown
			write(r)
		}
		r.SetVersion(r.MaxVersion())
		write(r)
	}
	if len(messages) < 100 {
		t.Fatalf("%d requests", len(messages))
	}
	return messages
}
