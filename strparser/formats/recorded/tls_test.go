package recorded

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/cryptotest"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "TLS", f: formats.TLS,
		encoders:  []string{"crypto/tls"},
		reference: "RFC 8446, section 5.1; RFC 5246, section 6.2; RFC 2246, section 6.2",
		messages:  tlsMessages,
	})
}

// tlsMessages is the records of connections in all versions from 1.0 on, in both
// directions.
func tlsMessages(t *testing.T) (records [][]byte) {
	cryptotest.SetGlobalRandom(t, 1)
	certificate := selfSigned(t)
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		config := &tls.Config{
			MinVersion: version, MaxVersion: version, Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert,
			InsecureSkipVerify:          true, // nobody signed it
			DynamicRecordSizingDisabled: true,
		}
		server := config.Clone()
		if version == tls.VersionTLS13 { // what the client does not offer at first: it has to say hello again
			server.CurvePreferences = []tls.CurveID{tls.CurveP384}
		}
		near, far := pair(t)
		var written [2][][]byte
		var flights [2]int
		var ends sync.WaitGroup
		ends.Go(func() {
			written[0], flights[0] = tlsTalk(t, near, func(c net.Conn) *tls.Conn { return tls.Client(c, config) })
		})
		ends.Go(func() {
			written[1], flights[1] = tlsTalk(t, far, func(c net.Conn) *tls.Conn { return tls.Server(c, server) })
		})
		ends.Wait()
		for i := range written {
			for _, flight := range written[i][:flights[i]] {
				records = append(records, cut(t, flight, readRecord)...)
			}
			records = append(records, written[i][flights[i]:]...)
		}
	}
	for i, m := range records {
		if !whole(m) || whole(m[:len(m)-1]) {
			t.Errorf("record %d, %s: not so for crypto/tls", i, short(m))
		}
	}
	return records
}

// tlsTalk shakes hands, sends messages of all sizes, reads what comes, and returns what
// each Write wrote: several records in the first ones, the flights of the handshake, and
// then one.
func tlsTalk(t *testing.T, raw net.Conn, open func(net.Conn) *tls.Conn) (written [][]byte, flights int) {
	defer raw.Close()
	w := new(writes)
	c := open(tapped{raw, w})
	if err := c.Handshake(); err != nil {
		t.Error(err)
		return nil, 0
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Error(err)
		}
	})
	flights = len(w.messages)
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range sizes(rng, 1<<8, 1<<14) {
		if _, err := c.Write(payload(rng, n)); err != nil {
			t.Error(err)
		}
	}
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
	reader.Wait()
	return w.messages, flights
}

// readRecord reads a record.
func readRecord(r io.Reader) error {
	var record []byte
	var b [1]byte
	for {
		if _, err := r.Read(b[:]); err != nil {
			return fmt.Errorf("%d bytes are no record", len(record))
		}
		record = append(record, b[0])
		if whole(record) {
			return nil
		}
	}
}

// whole reports whether crypto/tls has all of a record, seen from the error if nothing
// follows: it is another one in the middle of a record.
func whole(record []byte) bool {
	b := bytes.Clone(record)
	b[0] = 22 // a handshake: nothing else may come first
	err := tls.Server(conn{bytes.NewReader(b), io.Discard}, new(tls.Config)).Handshake()
	return !errors.Is(err, io.ErrUnexpectedEOF)
}

// selfSigned is a certificate.
func selfSigned(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
