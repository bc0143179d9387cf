package adopt

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/roster"
)

//go:embed genesis.sh
var genesisScript string

// maxGenesis is as much as a host takes.
const maxGenesis = 64 << 20

// Genesis reads the network's genesis from the daemon's home, as the daemon's user, and returns its hex SHA-256, too.
func (f *Found) Genesis(ctx context.Context, sh Shell) (genesis []byte, sum string, err error) {
	genesis, err = sh.Run(ctx, genesisScript, maxGenesis, f.Unit.uid, f.Unit.gid, f.Home.Genesis)
	if err != nil {
		return nil, "", fmt.Errorf("read genesis: %w", err)
	}
	var says struct {
		ChainID string `json:"chain_id"`
	}
	if err := json.Unmarshal(genesis, &says); err != nil {
		return nil, "", errors.New("read genesis: it is no JSON") // the cause could quote it
	}
	if says.ChainID != f.Node.ChainID {
		return nil, "", fmt.Errorf("read genesis: it is of the chain %q, and the node is on %q", clean(says.ChainID), f.Node.ChainID)
	}
	digest := sha256.Sum256(genesis)
	return genesis, hex.EncodeToString(digest[:]), nil
}

var gasPrice = regexp.MustCompile(`^[0-9]{1,40}(\.[0-9]{1,18})?[a-zA-Z][a-zA-Z0-9/:._-]{1,127}$`)

// gasPrices is a setting that hosts of ours could have, or empty.
func gasPrices(list string) string {
	for s := range strings.SplitSeq(list, ",") {
		if !gasPrice.MatchString(s) || len(list) > maxText {
			return ""
		}
	}
	return list
}

// dials are the peers of a list that a roster takes, each once.
func dials(list string) []string {
	var out []string
	for s := range strings.SplitSeq(list, ",") {
		if s = strings.TrimSpace(s); roster.IsPeer(s) && !slices.Contains(out, s) && len(out) < maxList {
			out = append(out, s)
		}
	}
	return out
}

// public says whether a peer may be reached from anywhere: by a name, or at an address that is not private.
func public(peer string) bool {
	_, at, _ := strings.Cut(peer, "@")
	ap, err := netip.ParseAddrPort(at)
	return err != nil || !ap.Addr().IsPrivate() && !ap.Addr().IsLoopback() && !ap.Addr().IsLinkLocalUnicast()
}
