// Package comet asks CometBFT nodes the few things we need to know, and reads the files they keep.
// Its types accept what lines 0.34 to 1.x answer; unknown fields are ignored.
package comet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Limits on an answer's size, in bytes.
const (
	maxBody    = 8 << 20
	maxNetInfo = 4 << 20
)

// direct never goes through a proxy: the nodes that we ask are ours and near.
var direct = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Client asks one node. Every call ends with its context; there is no other time limit.
type Client struct {
	URL  string       // http://host:port of the node's RPC
	HTTP *http.Client // nil: a client without a proxy
}

// RPCError is an answer in which the node says why it gives none.
type RPCError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    string `json:"data"`
}

// Error is the node's own word.
func (e *RPCError) Error() string {
	if e.Data != "" {
		return e.Message + ": " + e.Data
	}
	return e.Message
}

// get asks for one path, decodes the result into out and says what was read in its errors.
func (c *Client) get(ctx context.Context, path string, limit int64, out any) error {
	body, err := c.fetch(ctx, path, limit)
	if err != nil {
		return err
	}
	return decodeResult(body, out)
}

func (c *Client) fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.URL, "/")+path, nil)
	if err != nil {
		return nil, err
	}
	client := c.HTTP
	if client == nil {
		client = direct
	}
	res, err := client.Do(req)
	if err != nil {
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			return nil, wrapped.Err // without the address a second time
		}
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("answer is larger than %d bytes", limit)
	}
	// The node puts its errors into JSON with status 500; anything else that is not OK is not the node's.
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusInternalServerError {
		return nil, fmt.Errorf("unexpected answer: %s", res.Status)
	}
	return body, nil
}

func decodeResult(body []byte, out any) error {
	var envelope struct {
		Result json.RawMessage `json:"result"`
		Error  *RPCError       `json:"error"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	if envelope.Error != nil {
		return envelope.Error
	}
	if len(envelope.Result) == 0 || string(envelope.Result) == "null" {
		return errors.New("decode answer: it holds no result")
	}
	if err := json.Unmarshal(envelope.Result, out); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}

// Int is a number that may be written as a string, as most of the node's are.
type Int int64

// UnmarshalJSON accepts 12 and "12"; null and "" are 0.
func (n *Int) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "" || s == "null" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return fmt.Errorf("decode number %q: %w", s, errors.Unwrap(err))
	}
	*n = Int(v)
	return nil
}

// heightQuery is the query for a height; 0 is the newest.
func heightQuery(height int64) string {
	if height <= 0 {
		return ""
	}
	return "?height=" + strconv.FormatInt(height, 10)
}
