package node

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/pressenter/pressenter/internal/roster"
)

// places are where a home of ours has its parts. The daemon may read and write nowhere else.
var places = map[string]string{
	"genesis_file": "config/genesis.json", "node_key_file": "config/node_key.json", "db_dir": "data",
	"priv_validator_key_file": "config/priv_validator_key.json", "priv_validator_state_file": "data/priv_validator_state.json",
	"consensus.wal_file": "data/cs.wal/wal", "p2p.addr_book_file": "config/addrbook.json",
}

// Takes says why the files of a home that somebody else made cannot become those of a validator here: keys that they lack,
// as those of other lines of CometBFT do, and parts of the home that lie elsewhere. Nothing of them is quoted but paths.
func Takes(cometText, appText []byte) error {
	local := Local{P2P: "127.0.0.1:1", RPC: "127.0.0.1:1", Machine: true, KeyFile: ArmedKey, StateFile: ArmedState}
	ours := append(p2p{}.settings(local.P2P, false, false), rpc(local.RPC, true)...)
	ours = append(ours, consensus(roster.Chain{}, roster.RoleValidator, local)...)
	for _, f := range []struct {
		name     string
		text     []byte
		settings []Setting
	}{{"config.toml", cometText, ours}, {"app.toml", appText, app(roster.Chain{}, roster.RoleValidator)}} {
		says, err := Values(f.text)
		if err != nil {
			return fmt.Errorf("%s is no TOML that can be understood", f.name) // the cause could quote it
		}
		if _, err := Edit(f.text, f.settings); err != nil {
			return fmt.Errorf("%s is not as the daemon's own init writes it today: %w", f.name, err)
		}
		if f.name == "app.toml" {
			continue
		}
		for key, place := range places {
			if said := path.Clean(cmp.Or(says[key], place)); said != place {
				return fmt.Errorf("%s is %s, and not %s: put it there first", key, strings.ToValidUTF8(said[:min(len(said), 200)], ""), place)
			}
		}
		if says["priv_validator_laddr"] != "" {
			return errors.New("a signer elsewhere has the key")
		}
	}
	return nil
}
