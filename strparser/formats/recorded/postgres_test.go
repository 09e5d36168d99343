package recorded

import (
	"io"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/kcm-go/kcm/strparser/formats"
)

func init() {
	protocols = append(protocols, protocol{
		name: "Postgres", f: formats.Postgres,
		encoders:  []string{"github.com/jackc/pgx/v5/pgproto3"},
		reference: "PostgreSQL protocol 3.0 and 3.2, Message Formats; ProcessStartupPacket of backend_startup.c",
		messages:  postgresMessages,
		decoder: func(stream io.Reader) func() error {
			b := pgproto3.NewBackend(stream, nil)
			started := false // a cancel request is the last that has no type
			return func() error {
				if !started {
					m, err := b.ReceiveStartupMessage()
					_, started = m.(*pgproto3.CancelRequest)
					return err
				}
				m, err := b.Receive()
				if err != nil {
					return err
				}
				switch m.(type) { // the answers to a server's requests are of one type
				case *pgproto3.PasswordMessage:
					err = b.SetAuthType(pgproto3.AuthTypeSASL)
				case *pgproto3.SASLInitialResponse:
					err = b.SetAuthType(pgproto3.AuthTypeSASLContinue)
				case *pgproto3.SASLResponse:
					err = b.SetAuthType(pgproto3.AuthTypeGSS)
				}
				return err
			}
		},
	}, protocol{
		name: "PostgresReply", f: formats.PostgresReply,
		encoders:  []string{"github.com/jackc/pgx/v5/pgproto3"},
		reference: "PostgreSQL protocol 3.0 and 3.2, Message Formats",
		messages:  postgresReplies,
		decoder: func(stream io.Reader) func() error {
			f := pgproto3.NewFrontend(stream, nil)
			return func() error {
				_, err := f.Receive()
				return err
			}
		},
	})
}

// postgresMessages is each message of a client; those without a type come first. Each is
// one call.
func postgresMessages(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	write := func(list ...pgproto3.FrontendMessage) {
		for _, m := range list {
			b, err := m.Encode(nil)
			if err != nil {
				t.Fatal(err)
			}
			messages = append(messages, b)
		}
	}
	write(&pgproto3.SSLRequest{}, &pgproto3.GSSEncRequest{})
	const around = 15 // what a startup packet has around the user's name
	for _, n := range []int{around + 1, 1<<8 - 1, 1 << 8, 9999, 10000, 10001, 10003, 10004} {
		write(&pgproto3.StartupMessage{
			ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": text(rng, n-around)},
		})
		if got := len(messages[len(messages)-1]); got != n {
			t.Fatalf("a startup packet of %d bytes, want %d", got, n)
		}
	}
	write(
		&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion32, Parameters: map[string]string{"user": "postgres"}},
		&pgproto3.CancelRequest{ProcessID: 7, SecretKey: payload(rng, 4)},
		&pgproto3.PasswordMessage{Password: "secret"},
		&pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("n,,n=,r=nonce")},
		&pgproto3.SASLResponse{Data: []byte("c=biws,r=nonce,p=proof")},
		&pgproto3.GSSResponse{Data: payload(rng, 40)},
		&pgproto3.Query{String: "SELECT 1"},
		&pgproto3.Parse{Name: "s", Query: "SELECT $1", ParameterOIDs: []uint32{23}},
		&pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Execute{Portal: "p", MaxRows: 10},
		&pgproto3.FunctionCall{Function: 7, ArgFormatCodes: []uint16{1}, Arguments: [][]byte{payload(rng, 5), nil}, ResultFormatCode: 1},
		&pgproto3.Close{ObjectType: 'P', Name: "p"}, &pgproto3.Flush{}, &pgproto3.Sync{},
		&pgproto3.CopyData{Data: payload(rng, 1<<24)}, &pgproto3.CopyDone{}, &pgproto3.CopyFail{Message: "no"},
	)
	for _, n := range sizes(rng, 1<<8, 1<<16, 1<<20) {
		write(
			&pgproto3.Query{String: text(rng, n)},
			&pgproto3.Bind{
				DestinationPortal: "p", PreparedStatement: "s", ParameterFormatCodes: []int16{1},
				Parameters: [][]byte{payload(rng, n), nil}, ResultFormatCodes: []int16{0, 1},
			},
			&pgproto3.CopyData{Data: payload(rng, n)},
		)
	}
	write(&pgproto3.Terminate{})
	return messages
}

// postgresReplies is each message of a server. Each is one call.
func postgresReplies(t *testing.T) (messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 1))
	write := func(list ...pgproto3.BackendMessage) {
		for _, m := range list {
			b, err := m.Encode(nil)
			if err != nil {
				t.Fatal(err)
			}
			messages = append(messages, b)
		}
	}
	columns := []pgproto3.FieldDescription{{Name: []byte("n"), DataTypeOID: 23, DataTypeSize: 4, TypeModifier: -1}, {Name: []byte("b"), DataTypeOID: 17, Format: 1}}
	refused := pgproto3.ErrorResponse{Severity: "ERROR", Code: "42601", Message: "syntax error", Position: 8, File: "scan.l", Line: 1, Routine: "yyerror"}
	notice := pgproto3.NoticeResponse(refused)
	write(
		&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 2, UnrecognizedOptions: []string{"_pq_.x"}},
		&pgproto3.AuthenticationCleartextPassword{}, &pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 2, 3, 4}},
		&pgproto3.AuthenticationGSS{}, &pgproto3.AuthenticationGSSContinue{Data: payload(rng, 30)},
		&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}},
		&pgproto3.AuthenticationSASLContinue{Data: []byte("r=nonce,s=c2FsdA==,i=4096")},
		&pgproto3.AuthenticationSASLFinal{Data: []byte("v=c2lnbmF0dXJl")}, &pgproto3.AuthenticationOk{},
		&pgproto3.ParameterStatus{Name: "server_version", Value: "18.0"}, &pgproto3.BackendKeyData{ProcessID: 7, SecretKey: payload(rng, 4)},
		&pgproto3.BackendKeyData{ProcessID: 7, SecretKey: payload(rng, 256)}, // protocol 3.2
		&pgproto3.ReadyForQuery{TxStatus: 'I'}, &pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, &pgproto3.CloseComplete{},
		&pgproto3.ParameterDescription{ParameterOIDs: []uint32{23, 25}}, &pgproto3.NoData{}, &pgproto3.PortalSuspended{},
		&pgproto3.RowDescription{Fields: columns}, &pgproto3.DataRow{}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 2")},
		&pgproto3.EmptyQueryResponse{}, &refused, &notice, &pgproto3.NotificationResponse{PID: 7, Channel: "c", Payload: "p"},
		&pgproto3.FunctionCallResponse{Result: payload(rng, 9)}, &pgproto3.FunctionCallResponse{},
		&pgproto3.CopyInResponse{ColumnFormatCodes: []uint16{0, 1}}, &pgproto3.CopyOutResponse{OverallFormat: 1, ColumnFormatCodes: []uint16{1}},
		&pgproto3.CopyBothResponse{}, &pgproto3.CopyDone{},
	)
	for _, n := range sizes(rng, 1<<8, 1<<16, 1<<20, 1<<24) {
		write(
			&pgproto3.DataRow{Values: [][]byte{[]byte("42"), nil, payload(rng, n)}},
			&pgproto3.CopyData{Data: payload(rng, n)},
			&pgproto3.ErrorResponse{Severity: "ERROR", Code: "22000", Message: text(rng, n%5000)},
		)
	}
	return messages
}
