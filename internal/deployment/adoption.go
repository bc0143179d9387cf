package deployment

import "time"

// Adoption is a server whose node was there before the deployment: it brought the network's genesis and peers, and is
// taken over as the validator's host.
type Adoption struct {
	Host    string `json:"host"`
	Address string `json:"address"`
	// Unit runs the node until it is taken over, with the home Home.
	Unit   string `json:"unit"`
	Home   string `json:"home"`
	NodeID string `json:"node_id"`
	// PubKey is the public half of its consensus key.
	PubKey []byte `json:"ed25519"`
	// Genesis is the hex SHA-256 of the genesis that it has, and Peers whom it dials, id@host:port.
	Genesis     string   `json:"genesis_sha256"`
	Peers       []string `json:"peers"`
	MinGasPrice string   `json:"min_gas_price,omitempty"`
	// BlockTime is about how long its newest blocks took, 0: not known. Nobody is told it as a setting.
	BlockTime time.Duration `json:"block_time_ns,omitempty"`
	// Mark is the highest height that it was seen to have signed when its takeover began.
	Mark int64 `json:"mark,omitempty"`
	// Begun: the server may be between its unit and ours. It is noted before anything is changed there.
	Begun bool `json:"begun,omitempty"`
	// Taken: the unit can never run the node again, and the host is one of ours.
	Taken bool `json:"taken,omitempty"`
	// Kept: the host is enrolled, and the sealed backup of its key is here. Until then the server may have the only one.
	Kept bool `json:"kept,omitempty"`
}
