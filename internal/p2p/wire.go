package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	tmp2p "github.com/cometbft/cometbft/proto/tendermint/p2p"
	"github.com/cosmos/gogoproto/proto"
)

// The limits of what may arrive. CometBFT's own are 10 KiB for a node info, 1 KiB for a packet (a setting of the sender), 62.5
// KiB for a message of addresses, and 250 addresses.
const (
	maxNodeInfo  = 10 << 10
	maxPacket    = 64 << 10
	maxMessage   = 256 * 250
	maxAddresses = 1000
)

// errPart says that what is there so far is the beginning of something.
var errPart = errors.New("incomplete")

// cut takes the first length-delimited body off buf. It returns the number of bytes it spans, and errPart while some are missing.
func cut(buf []byte, limit int) (body []byte, n int, err error) {
	size, k := binary.Uvarint(buf)
	switch {
	case k == 0 && len(buf) < binary.MaxVarintLen64:
		return nil, 0, errPart
	case k <= 0:
		return nil, 0, fmt.Errorf("read length: %w", ErrOdd)
	case size > uint64(limit):
		return nil, 0, fmt.Errorf("read message of %d bytes, more than %d: %w", size, limit, ErrTooMuch)
	case uint64(len(buf)-k) < size:
		return nil, 0, errPart
	}
	n = k + int(size)
	return buf[k:n], n, nil
}

// delimited writes m with its length before it.
func delimited(m proto.Message) ([]byte, error) {
	body, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...), nil
}

func decodeNodeInfo(body []byte) (NodeInfo, error) {
	var m tmp2p.DefaultNodeInfo
	if err := proto.Unmarshal(body, &m); err != nil {
		return NodeInfo{}, fmt.Errorf("decode node info: %w (%w)", ErrOdd, err)
	}
	return NodeInfo{
		ID:         clean(strings.ToLower(m.DefaultNodeID)),
		Network:    clean(m.Network),
		Version:    clean(m.Version),
		Moniker:    clean(m.Moniker),
		ListenAddr: clean(m.ListenAddr),
		RPCAddress: clean(m.Other.RPCAddress),
		Channels:   m.Channels,
		P2P:        m.ProtocolVersion.P2P,
		Block:      m.ProtocolVersion.Block,
		App:        m.ProtocolVersion.App,
	}, nil
}

func encodeNodeInfo(n NodeInfo) ([]byte, error) {
	return delimited(&tmp2p.DefaultNodeInfo{
		ProtocolVersion: tmp2p.ProtocolVersion{P2P: n.P2P, Block: n.Block, App: n.App},
		DefaultNodeID:   n.ID,
		ListenAddr:      n.ListenAddr,
		Network:         n.Network,
		Version:         n.Version,
		Channels:        n.Channels,
		Moniker:         n.Moniker,
	})
}

// packet is one of: a ping, a pong, a piece of a message.
type packet struct {
	ping bool
	pong bool
	msg  *tmp2p.PacketMsg
}

func decodePacket(body []byte) (packet, error) {
	var m tmp2p.Packet
	if err := proto.Unmarshal(body, &m); err != nil {
		return packet{}, fmt.Errorf("decode packet: %w (%w)", ErrOdd, err)
	}
	switch sum := m.Sum.(type) {
	case *tmp2p.Packet_PacketPing:
		return packet{ping: true}, nil
	case *tmp2p.Packet_PacketPong:
		return packet{pong: true}, nil
	case *tmp2p.Packet_PacketMsg:
		if sum.PacketMsg != nil && sum.PacketMsg.ChannelID >= 0 && sum.PacketMsg.ChannelID <= math.MaxUint8 {
			return packet{msg: sum.PacketMsg}, nil
		}
	}
	return packet{}, fmt.Errorf("decode packet: %w", ErrOdd)
}

func encodePong() ([]byte, error) {
	return delimited(&tmp2p.Packet{Sum: &tmp2p.Packet_PacketPong{PacketPong: &tmp2p.PacketPong{}}})
}

// encodeAsk writes a request for addresses.
func encodeAsk() ([]byte, error) {
	ask, err := proto.Marshal(&tmp2p.Message{Sum: &tmp2p.Message_PexRequest{PexRequest: &tmp2p.PexRequest{}}})
	if err != nil {
		return nil, err
	}
	return delimited(&tmp2p.Packet{Sum: &tmp2p.Packet_PacketMsg{
		PacketMsg: &tmp2p.PacketMsg{ChannelID: int32(ChannelPEX), EOF: true, Data: ask},
	}})
}

// decodeAddresses reads a message of the channel of addresses. It is asked for addresses (false) or told some (true).
func decodeAddresses(data []byte) ([]Address, bool, error) {
	var m tmp2p.Message
	if err := proto.Unmarshal(data, &m); err != nil {
		return nil, false, fmt.Errorf("decode addresses: %w (%w)", ErrOdd, err)
	}
	switch sum := m.Sum.(type) {
	case *tmp2p.Message_PexRequest:
		return nil, false, nil
	case *tmp2p.Message_PexAddrs:
		told := sum.PexAddrs.GetAddrs()
		if len(told) > maxAddresses {
			return nil, false, fmt.Errorf("read %d addresses, more than %d: %w", len(told), maxAddresses, ErrTooMuch)
		}
		as := make([]Address, len(told))
		for i, t := range told {
			as[i] = Address{ID: clean(strings.ToLower(t.ID)), Host: PlainHost(clean(t.IP))}
			if t.Port <= math.MaxUint16 {
				as[i].Port = uint16(t.Port)
			}
		}
		return as, true, nil
	}
	return nil, false, fmt.Errorf("decode addresses: %w", ErrOdd)
}
