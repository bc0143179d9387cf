package relay

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
)

// protocol is what both ends of a link must agree on (RFC 7301).
const protocol = "pressenter-relay/1"

// config returns what both ends of a link have in common. Each end shows a certificate that it signed itself and that
// says nothing but its key; known judges the other's key.
//
// InsecureSkipVerify turns off the checks of names, dates and issuers. That is right here: no authority vouches for a
// member but the roster, which lists raw keys; a member has no name that a certificate could prove; and a host whose
// clock is wrong must still be reached. What remains of TLS 1.3 is what matters: the other end proves in each handshake
// that it holds the private half of the key it shows, and VerifyConnection, which runs in every handshake, compares
// that key with the roster. Without tickets there are no resumed sessions that could outlive a change of the roster.
func config(key ed25519.PrivateKey, known func(roster.Key) error) (*tls.Config, error) {
	cert, err := certificate(key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates:           []tls.Certificate{cert},
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{protocol},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.NegotiatedProtocol != protocol {
				return errors.New("the other end does not speak the relay's protocol")
			}
			k, err := shown(s)
			if err != nil {
				return err
			}
			return known(k)
		},
	}, nil
}

// shown returns the key that the other end showed.
func shown(s tls.ConnectionState) (roster.Key, error) {
	if len(s.PeerCertificates) == 0 {
		return roster.Key{}, errors.New("the other end shows no key")
	}
	k, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || len(k) != ed25519.PublicKeySize {
		return roster.Key{}, errors.New("the other end shows no Ed25519 key")
	}
	return roster.KeyOf(k), nil
}

// certificate wraps key for TLS. It is made anew in memory at each start and its dates span all that a clock may say,
// though nobody looks at them.
func certificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	if len(key) != ed25519.PrivateKeySize {
		return tls.Certificate{}, errors.New("make a certificate: no relay key")
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280, 4.1.2.5: no end
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
