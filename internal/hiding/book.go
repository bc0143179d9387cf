package hiding

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pressenter/pressenter/internal/p2p"
)

type bookAddress struct {
	ID   string `json:"id"`
	IP   string `json:"ip"`
	Port uint16 `json:"port"`
}

// ParseBook reads CometBFT's config/addrbook.json. A book without addresses gives an empty list, not nil.
func ParseBook(data []byte) ([]Entry, error) {
	var file struct {
		Addrs []struct {
			Addr *bookAddress `json:"addr"`
			Src  *bookAddress `json:"src"`
		} `json:"addrs"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("parse address book: %w", err)
	}
	entries := make([]Entry, 0, len(file.Addrs))
	for i, a := range file.Addrs {
		if a.Addr == nil {
			return nil, fmt.Errorf("parse address book: entry %d has no address", i)
		}
		e := Entry{Address: a.Addr.address()}
		if a.Src != nil {
			e.Source = a.Src.address()
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func (b bookAddress) address() p2p.Address {
	return p2p.Address{ID: strings.ToLower(b.ID), Host: p2p.PlainHost(b.IP), Port: b.Port}
}
