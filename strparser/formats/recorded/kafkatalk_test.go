package recorded

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "Kafka-talk", f: formats.Kafka,
		encoders:  []string{"github.com/twmb/franz-go/pkg/kgo", "github.com/twmb/franz-go/pkg/kfake"},
		reference: `Kafka protocol guide, "Size"`,
		messages:  kafkaTalk,
	})
}

// kafkaTalk is what a client and a cluster made for tests say to each other: records are
// produced and fetched. Each Write of either is a request or a response. The client has a
// connection for each kind of work.
func kafkaTalk(t *testing.T) [][]byte {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var network kfake.VirtualNetwork
	near, far := new(taps), new(taps)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.SeedTopics(1, "topic"),
		kfake.ListenFn(func(n, address string) (net.Listener, error) {
			ln, err := network.Listen(n, address)
			return tapsListener{ln, far}, err
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DisableClientMetrics(), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.Dialer(func(ctx context.Context, n, address string) (net.Conn, error) {
			c, err := network.DialContext(ctx, n, address)
			if err != nil {
				return nil, err
			}
			return near.tap(c), nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	lengths := []int{0, 1, 127, 128, 255, 256, 65535, 65536, 900_000}
	for _, n := range lengths {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: "topic", Key: []byte("key"), Value: payload(rng, n)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	broker := client.Broker(0)
	for offset := range lengths {
		metadata, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, broker)
		if err != nil {
			t.Fatal(err)
		}
		partition := kmsg.NewFetchRequestTopicPartition()
		partition.FetchOffset, partition.PartitionMaxBytes = int64(offset), 1
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic, topic.TopicID, topic.Partitions = "topic", metadata.Topics[0].TopicID, []kmsg.FetchRequestTopicPartition{partition}
		fetch := kmsg.NewPtrFetchRequest()
		fetch.MaxBytes, fetch.Topics = 1, []kmsg.FetchRequestTopic{topic}
		resp, err := fetch.RequestWith(ctx, broker)
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 || len(resp.Topics[0].Partitions[0].RecordBatches) < lengths[offset] {
			t.Fatalf("nothing fetched at offset %d", offset)
		}
	}
	for _, r := range []kmsg.Request{kmsg.NewPtrListOffsetsRequest(), kmsg.NewPtrListGroupsRequest(), kmsg.NewPtrDescribeConfigsRequest()} {
		if _, err := broker.Request(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	return append(near.take(), far.take()...)
}

// taps keep what is written to each of several connections.
type taps struct {
	mu sync.Mutex
	of []*writes
}

func (s *taps) tap(c net.Conn) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of = append(s.of, new(writes))
	return tapped{c, s.of[len(s.of)-1]}
}

// take returns what was written, connection by connection.
func (s *taps) take() (messages [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.of {
		messages = slices.Concat(messages, w.take())
	}
	return messages
}

// tapsListener taps what it accepts.
type tapsListener struct {
	net.Listener
	taps *taps
}

func (l tapsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.taps.tap(c), nil
}
