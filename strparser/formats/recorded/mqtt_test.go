package recorded

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	packets5 "github.com/eclipse/paho.golang/packets"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "MQTT", f: formats.MQTT,
		encoders:  []string{"github.com/eclipse/paho.mqtt.golang/packets", "github.com/eclipse/paho.golang/packets"},
		reference: "MQTT 3.1.1, section 2.2; MQTT 5.0, section 2.1",
		messages: func(t *testing.T) [][]byte {
			return append(mqtt3Packets(t), mqtt5Packets(t)...)
		},
		decoder: func(stream io.Reader) func() error {
			five := false // what comes behind 3.1.1's DISCONNECT
			return func() error {
				if five {
					_, err := packets5.ReadPacket(stream)
					return err
				}
				p, err := packets3.ReadPacket(stream)
				_, five = p.(*packets3.DisconnectPacket)
				return err
			}
		},
	})
}

// mqttEdges are where the length field takes another byte.
var mqttEdges = []int{1 << 7, 1 << 14, 1 << 21}

// mqtt3Packets is each packet of MQTT 3.1.1, and PUBLISH with all lengths of the length
// field. Each is one call.
func mqtt3Packets(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	write := func(p packets3.ControlPacket) {
		var b bytes.Buffer
		if err := p.Write(&b); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, b.Bytes())
	}
	connect := packets3.NewControlPacket(packets3.Connect).(*packets3.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion, connect.ClientIdentifier = "MQTT", 4, "recorded"
	connect.UsernameFlag, connect.Username, connect.PasswordFlag, connect.Password = true, "user", true, []byte("secret")
	connect.WillFlag, connect.WillTopic, connect.WillMessage = true, "will", []byte("bye")
	subscribe := packets3.NewControlPacket(packets3.Subscribe).(*packets3.SubscribePacket)
	subscribe.MessageID, subscribe.Topics, subscribe.Qoss = 1, []string{"a/+", "#"}, []byte{0, 2}
	suback := packets3.NewControlPacket(packets3.Suback).(*packets3.SubackPacket)
	suback.MessageID, suback.ReturnCodes = 1, []byte{0, 0x80}
	unsubscribe := packets3.NewControlPacket(packets3.Unsubscribe).(*packets3.UnsubscribePacket)
	unsubscribe.MessageID, unsubscribe.Topics = 2, []string{"a/+"}
	write(connect)
	write(packets3.NewControlPacket(packets3.Connack))
	write(subscribe)
	write(suback)
	write(unsubscribe)
	for _, kind := range []byte{
		packets3.Unsuback, packets3.Puback, packets3.Pubrec, packets3.Pubrel, packets3.Pubcomp, packets3.Pingreq, packets3.Pingresp,
	} {
		write(packets3.NewControlPacket(kind))
	}
	for i, n := range sizes(rng, mqttEdges...) {
		p := packets3.NewControlPacket(packets3.Publish).(*packets3.PublishPacket)
		p.TopicName, p.Payload = "t", payload(rng, max(n-3, 0)) // the topic takes 3 bytes
		write(p)
		p.Qos, p.MessageID, p.Retain, p.Dup = byte(1+i%2), uint16(i+1), i%3 == 0, i%5 == 0
		write(p)
	}
	write(packets3.NewControlPacket(packets3.Disconnect))
	return messages
}

// mqtt5Packets is the same of MQTT 5.0.
func mqtt5Packets(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 2))
	write := func(p *packets5.ControlPacket) {
		var b bytes.Buffer
		if _, err := p.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, b.Bytes())
	}
	properties := &packets5.Properties{User: []packets5.User{{Key: "k", Value: text(rng, 120)}}}
	for kind := packets5.CONNECT; kind <= packets5.AUTH; kind++ {
		p := packets5.NewControlPacket(kind)
		switch c := p.Content.(type) {
		case *packets5.Subscribe:
			c.PacketID, c.Subscriptions = 1, []packets5.SubOptions{{Topic: "a/+", QoS: 2, NoLocal: true}, {Topic: "#"}}
		case *packets5.Suback:
			c.PacketID, c.Reasons = 1, []byte{0, 0x80}
		case *packets5.Unsubscribe:
			c.PacketID, c.Topics = 2, []string{"a/+"}
		case *packets5.Connect:
			c.ClientID, c.Properties = "recorded", properties
		case *packets5.Publish:
			c.Topic, c.Properties = "t", properties
		case *packets5.Auth:
			c.ReasonCode, c.Properties = packets5.AuthContinueAuthentication, &packets5.Properties{AuthMethod: "m", AuthData: payload(rng, 20)}
		}
		write(p)
	}
	for i, n := range sizes(rng, mqttEdges...) {
		p := packets5.NewControlPacket(packets5.PUBLISH)
		c := p.Content.(*packets5.Publish)
		c.Topic, c.Payload = "t", payload(rng, max(n-4, 0)) // and no properties, a byte
		write(p)
		p = packets5.NewControlPacket(packets5.PUBLISH)
		p.Content = &packets5.Publish{Topic: text(rng, n%300), QoS: 1, PacketID: uint16(i + 1), Payload: c.Payload, Properties: properties}
		write(p)
	}
	return messages
}
