package recorded

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/packet"
	"github.com/go-sql-driver/mysql"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "MySQL", f: formats.MySQL,
		encoders:  []string{"github.com/go-sql-driver/mysql", "github.com/go-mysql-org/go-mysql/packet"},
		reference: "MySQL client/server protocol, MySQL Packets, Sending More Than 16Mb",
		messages:  mysqlPackets,
	})
}

// fullPacket is the payload of a packet that another one continues.
const fullPacket = 1<<24 - 1

// mysqlPackets is what a client and a server write, a packet with each Write. The server
// reads with go-mysql and the client with go-sql-driver, and so they agree on packets.
func mysqlPackets(t *testing.T) [][]byte {
	near, far := pair(t)
	client, server := new(writes), new(writes)
	s := &mysqlServer{c: packet.NewConn(tapped{far, server}), row: make(chan []byte, 1)}
	served := make(chan error, 1)
	go func() { served <- s.serve() }()
	config := mysql.NewConfig()
	config.User, config.Passwd, config.DBName = "user", "secret", "db"
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return tapped{near, client}, nil }
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	exec := func(query string, arguments ...any) {
		if _, err := db.Exec(query, arguments...); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range append(sizes(rng, 1<<8, 1<<16, 1<<20), fullPacket-4) { // the row's length is 4 bytes
		if n < fullPacket-4 {
			exec(text(rng, n))
			exec("INSERT ?", payload(rng, n))
		}
		row := payload(rng, n)
		s.row <- row
		var got []byte
		if err := db.QueryRow("SELECT").Scan(&got); err != nil || !bytes.Equal(got, row) {
			t.Fatalf("a row of %d bytes for one of %d: %v", len(got), n, err)
		}
	}
	mysql.RegisterReaderHandler("data", func() io.Reader { return bytes.NewReader(payload(rng, 100000)) })
	defer mysql.DeregisterReaderHandler("data")
	exec("LOAD DATA LOCAL INFILE 'Reader::data' INTO TABLE t") // ends with a packet of nothing
	exec(text(rng, fullPacket-1))                              // behind the command's byte; the next packet is one of nothing
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	written := client.take()
	var payloads [][]byte
	for i, full := 0, false; i < len(written); i++ {
		p := written[i][4:]
		if full {
			last := len(payloads) - 1
			payloads[last] = slices.Concat(payloads[last], p)
		} else {
			payloads = append(payloads, p)
		}
		full = len(p) == fullPacket
	}
	if !slices.EqualFunc(payloads, s.read, bytes.Equal) {
		t.Errorf("the server read %d payloads, the client wrote %d, or others", len(s.read), len(payloads))
	}
	return append(written, server.take()...)
}

// mysqlServer answers a client.
type mysqlServer struct {
	c    *packet.Conn
	row  chan []byte // what SELECT returns
	read [][]byte    // the payloads it has got
}

// write writes a payload, as more than one packet if it is long.
func (s *mysqlServer) write(payload ...string) error {
	return s.c.WritePacket([]byte("\x00\x00\x00\x00" + strings.Join(payload, ""))) // room for the header
}

func (s *mysqlServer) receive() ([]byte, error) {
	b, err := s.c.ReadPacket()
	if err == nil {
		s.read = append(s.read, bytes.Clone(b))
	}
	return b, err
}

// What a server says: OK, and the end of a list, without flags.
const (
	mysqlOK  = "\x00\x00\x00\x02\x00\x00\x00"
	mysqlEOF = "\xfe\x00\x00\x02\x00"
)

// serve shakes hands and answers commands until the client quits.
func (s *mysqlServer) serve() error {
	const capabilities = 1<<0 | 1<<3 | 1<<7 | 1<<9 | 1<<13 | 1<<15 | 1<<19
	greeting := "\x0a8.0.0\x00" + "\x07\x00\x00\x00" + "abcdefgh\x00"
	greeting += string(binary.LittleEndian.AppendUint16(nil, capabilities&0xffff)) + "\xff\x02\x00"
	greeting += string(binary.LittleEndian.AppendUint16(nil, capabilities>>16)) + "\x15" + strings.Repeat("\x00", 10)
	greeting += "ijklmnopqrst\x00mysql_native_password\x00"
	if err := s.write(greeting); err != nil {
		return err
	}
	if _, err := s.receive(); err != nil {
		return err
	}
	if err := s.write(mysqlOK); err != nil {
		return err
	}
	for {
		s.c.ResetSequence()
		b, err := s.receive()
		if err != nil {
			return err
		}
		if b[0] == 1 { // quit
			return nil
		}
		if err := s.answer(b[0], string(b[1:])); err != nil {
			return err
		}
	}
}

func (s *mysqlServer) answer(command byte, text string) error {
	switch {
	case command == 0x19: // close a statement: no answer
		return nil
	case command == 0x16: // prepare a statement of one parameter
		return errors.Join(s.write("\x00\x01\x00\x00\x00", "\x00\x00", "\x01\x00", "\x00\x00\x00"), s.column("?"), s.write(mysqlEOF))
	case command == 3 && text == "SELECT":
		row := <-s.row
		length := string(binary.LittleEndian.AppendUint32([]byte{0xfd}, uint32(len(row)))[:4])
		if len(row) < 0xfb {
			length = length[1:2]
		}
		return errors.Join(s.write("\x01"), s.column("c"), s.write(mysqlEOF), s.write(length, string(row)), s.write(mysqlEOF))
	case command == 3 && strings.HasPrefix(text, "LOAD"):
		_, name, _ := strings.Cut(text, "'")
		name, _, _ = strings.Cut(name, "'")
		if err := s.write("\xfb", name); err != nil {
			return err
		}
		for {
			b, err := s.receive()
			if err != nil {
				return err
			}
			if len(b) == 0 {
				return s.write(mysqlOK)
			}
		}
	}
	return s.write(mysqlOK)
}

// column writes the definition of a column of bytes.
func (s *mysqlServer) column(name string) error {
	return s.write("\x03def\x00\x01t\x01t", string(rune(len(name))), name, "\x01c", "\x0c\x3f\x00\xff\xff\xff\xff\xfc\x00\x00\x00\x00\x00")
}
