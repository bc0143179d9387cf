package comet

import (
	"context"
	"fmt"
	"time"
)

// Status is what a node says about itself.
type Status struct {
	NodeID      string
	ListenAddr  string
	Network     string // chain id
	Moniker     string
	Version     string // CometBFT's, as the binary claims; it has been seen to lie
	Height      int64  // newest block stored
	Time        time.Time
	Earliest    int64 // oldest block stored
	AppHash     string
	CatchingUp  bool
	Address     string // consensus address of the node's validator key, upper-case hex
	PubKeyType  string
	PubKey      []byte // of that key
	VotingPower int64  // 0: that key is not in the validator set
}

type statusJSON struct {
	NodeInfo nodeInfoJSON `json:"node_info"`
	SyncInfo struct {
		AppHash    string    `json:"latest_app_hash"`
		Height     Int       `json:"latest_block_height"`
		Time       time.Time `json:"latest_block_time"`
		Earliest   Int       `json:"earliest_block_height"`
		CatchingUp bool      `json:"catching_up"`
	} `json:"sync_info"`
	Validator struct {
		Address string `json:"address"`
		PubKey  *struct {
			Type  string `json:"type"`
			Value []byte `json:"value"`
		} `json:"pub_key"`
		VotingPower Int `json:"voting_power"`
	} `json:"validator_info"`
}

type nodeInfoJSON struct {
	ID         string `json:"id"`
	ListenAddr string `json:"listen_addr"`
	Network    string `json:"network"`
	Version    string `json:"version"`
	Moniker    string `json:"moniker"`
	Other      struct {
		RPCAddress string `json:"rpc_address"`
	} `json:"other"`
}

// Status asks for /status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var j statusJSON
	if err := c.get(ctx, "/status", maxBody, &j); err != nil {
		return Status{}, fmt.Errorf("read status of node at %q: %w", c.URL, err)
	}
	return j.status(), nil
}

func (j statusJSON) status() Status {
	s := Status{
		NodeID: j.NodeInfo.ID, ListenAddr: j.NodeInfo.ListenAddr, Network: j.NodeInfo.Network,
		Moniker: j.NodeInfo.Moniker, Version: j.NodeInfo.Version,
		Height: int64(j.SyncInfo.Height), Time: j.SyncInfo.Time, Earliest: int64(j.SyncInfo.Earliest),
		AppHash: j.SyncInfo.AppHash, CatchingUp: j.SyncInfo.CatchingUp,
		Address: j.Validator.Address, VotingPower: int64(j.Validator.VotingPower),
	}
	if j.Validator.PubKey != nil {
		s.PubKeyType, s.PubKey = j.Validator.PubKey.Type, j.Validator.PubKey.Value
	}
	return s
}

// NetInfo is who a node is connected to.
type NetInfo struct {
	Listening bool
	Listeners []string
	Peers     []Peer
}

// Peer is one connected node, in its own words but for RemoteIP and Outbound.
type Peer struct {
	ID         string
	Moniker    string
	ListenAddr string // what it says about itself
	RPCAddress string // what it says about itself
	Network    string
	Version    string
	RemoteIP   string // where the connection goes to or comes from
	Outbound   bool   // the node that we ask dialled it
}

type netInfoJSON struct {
	Listening bool     `json:"listening"`
	Listeners []string `json:"listeners"`
	Peers     []struct {
		NodeInfo   nodeInfoJSON `json:"node_info"`
		IsOutbound bool         `json:"is_outbound"`
		RemoteIP   string       `json:"remote_ip"`
	} `json:"peers"`
}

// NetInfo asks for /net_info.
func (c *Client) NetInfo(ctx context.Context) (NetInfo, error) {
	var j netInfoJSON
	if err := c.get(ctx, "/net_info", maxNetInfo, &j); err != nil {
		return NetInfo{}, fmt.Errorf("read peers of node at %q: %w", c.URL, err)
	}
	return j.netInfo(), nil
}

func (j netInfoJSON) netInfo() NetInfo {
	n := NetInfo{Listening: j.Listening, Listeners: j.Listeners}
	for _, p := range j.Peers {
		n.Peers = append(n.Peers, Peer{
			ID: p.NodeInfo.ID, Moniker: p.NodeInfo.Moniker, ListenAddr: p.NodeInfo.ListenAddr,
			RPCAddress: p.NodeInfo.Other.RPCAddress, Network: p.NodeInfo.Network, Version: p.NodeInfo.Version,
			RemoteIP: p.RemoteIP, Outbound: p.IsOutbound,
		})
	}
	return n
}

// Peer finds a connected node by its id.
func (n NetInfo) Peer(id string) (Peer, bool) {
	for _, p := range n.Peers {
		if p.ID == id {
			return p, true
		}
	}
	return Peer{}, false
}
