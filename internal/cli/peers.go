package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/croc"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/share"
)

// newPeersCmd is how operators tell each other where their sentries are.
func newPeersCmd(g *global) *cobra.Command {
	c := &cobra.Command{
		Use: "peers", Short: "Tell another operator where your sentries are, and take theirs as private peers",
		Long: "Two operators whose sentries keep links to each other depend less on strangers. What is told is a text: the sentries'\n" +
			"node ids and public addresses. It goes through croc v10, pressenter on the other side or not, or by any other way: --paste.",
	}
	c.AddCommand(newPeersSendCmd(g), newPeersReceiveCmd(g))
	return c
}

// sharing is one run of either command.
type sharing struct {
	c       *cobra.Command
	meeting meeting
	paste   bool
	private bool
}

func (s *sharing) flags(c *cobra.Command) {
	s.meeting.flags(c, true)
	c.Flags().BoolVar(&s.paste, "paste", false, "without croc: the text on standard output, or from standard input")
	c.Flags().BoolVar(&s.private, "allow-private", false, "take addresses that mean something in one network only, for practice")
}

func newPeersSendCmd(g *global) *cobra.Command {
	var s sharing
	var told bool
	c := &cobra.Command{
		Use: "send", Short: "Send your sentries' node ids and addresses, under a new code", Args: cobra.NoArgs,
		Long: "Send the node ids and public addresses of your sentries to whoever has the code that is printed. The other side runs\n" +
			"'pressenter peers receive', or croc v10. Nothing else is told, and nothing of the validator.",
		RunE: func(c *cobra.Command, _ []string) error {
			s.c = c
			text, err := ownSentries(g, s.private)
			if err != nil {
				return err
			}
			if s.paste {
				_, err := c.OutOrStdout().Write(text)
				return err
			}
			return s.send(text, told)
		},
	}
	s.flags(c)
	c.Flags().BoolVar(&told, "code-from-stdin", false, "read the code that the other side made, instead of making one")
	return c
}

// ownSentries is the text that tells of our sentries.
func ownSentries(g *global, private bool) ([]byte, error) {
	s, err := g.look()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	r := s.Head()
	if r == nil {
		return nil, hint(errors.New("this deployment has no roster, or a forked one"), "run 'pressenter apply'")
	}
	l := share.List{ChainID: r.Chain.ID, IDs: sentriesOf(r)}
	if len(l.IDs) == 0 {
		return nil, errors.New("this deployment has no sentry with a public address")
	}
	text, err := share.Encode(l)
	if err != nil {
		return nil, err
	}
	if _, err := share.Parse(text, share.Options{Private: private}); err != nil {
		return nil, hint(fmt.Errorf("the other side would refuse this: %w", err), "on a practice network both sides give --allow-private")
	}
	return text, nil
}

// sentriesOf are the public places of a roster's sentries, id@host:port.
func sentriesOf(r *roster.Roster) []string {
	var out []string
	for _, m := range r.Members {
		if m.Role == roster.RoleSentry && m.Endpoint != "" && m.NodeID != "" {
			out = append(out, m.NodeID+"@"+m.Endpoint)
		}
	}
	return out
}

func (s *sharing) send(text []byte, told bool) error {
	if err := s.meeting.check(true); err != nil {
		return err
	}
	ctx, out := s.c.Context(), s.c.OutOrStdout()
	carrier, leave, err := s.meeting.open(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if told {
		s.tellPlace(carrier, "send")
		code, err := readCode(s.c)
		if err != nil {
			return err
		}
		return sent(out, carrier.Send(ctx, code, text))
	}
	code, err := carrier.NewCode(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "code: %s\n\nThe other side types it when one of these asks for it:\n  pressenter peers receive %s\n  croc %s\n\nIt allows one guess.\n",
		code, s.meeting.told(carrier), s.stock(carrier))
	return sent(out, carrier.Send(ctx, code, text))
}

func sent(out io.Writer, err error) error {
	if err == nil {
		fmt.Fprintln(out, "the other side has it")
	}
	return err
}

// stock are the flags for croc itself; its own default is the public relay.
func (s *sharing) stock(c croc.Carrier) string {
	if s.meeting.public {
		return ""
	}
	return s.meeting.told(c)
}

// tellPlace says where a relay of ours is.
func (s *sharing) tellPlace(c croc.Carrier, verb string) {
	if s.meeting.listen != "" {
		fmt.Fprintf(s.c.ErrOrStderr(), "the other side comes to %s; its code is needed to %s\n", reachable(c.Relay), verb)
	}
}

func newPeersReceiveCmd(g *global) *cobra.Command {
	var s sharing
	c := &cobra.Command{
		Use: "receive", Short: "Take another operator's sentries, and print what to put into the config", Args: cobra.NoArgs,
		Long: "Read the code that the other side made from standard input, take its text, check it and print the lines that make its\n" +
			"sentries private peers of yours. The other side runs 'pressenter peers send', or croc v10: croc send --text TEXT.\n" +
			"Nothing is changed: the config is yours to edit.",
		RunE: func(c *cobra.Command, _ []string) error {
			s.c = c
			chain, err := ourChain(g)
			if err != nil {
				return err
			}
			text, err := s.receive()
			if err != nil {
				return err
			}
			l, err := share.Parse(text, share.Options{Private: s.private, ChainID: chain})
			if err != nil {
				return hint(err, "on a practice network both sides give --allow-private")
			}
			printPeers(c.OutOrStdout(), l)
			return nil
		},
	}
	s.flags(c)
	return c
}

// ourChain is the id of our chain, empty where there is no deployment yet.
func ourChain(g *global) (string, error) {
	dir, err := g.dir()
	if err != nil {
		return "", err
	}
	inv, err := dir.LoadInventory()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return inv.ChainID, err
}

func (s *sharing) receive() ([]byte, error) {
	if s.paste {
		return io.ReadAll(io.LimitReader(s.c.InOrStdin(), share.MaxText+1))
	}
	if err := s.meeting.check(true); err != nil {
		return nil, err
	}
	ctx := s.c.Context()
	carrier, leave, err := s.meeting.open(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	s.tellPlace(carrier, "receive")
	code, err := readCode(s.c)
	if err != nil {
		return nil, err
	}
	return carrier.Receive(ctx, code, share.MaxText)
}

// maxPrivatePeers is how many the config takes for one sentry.
const maxPrivatePeers = 16

func printPeers(w io.Writer, l share.List) {
	of := "on " + l.ChainID
	if l.ChainID == "" {
		of = "on a chain that the text does not name; ask"
	}
	fmt.Fprintf(w, "%d sentries of another operator, %s:\n  %s\n\n", len(l.IDs), of, strings.Join(l.IDs, "\n  "))
	fmt.Fprintf(w, "Under one of your sentries in the config, and then 'pressenter apply':\n    private_peers:\n")
	for _, id := range l.IDs[:min(len(l.IDs), maxPrivatePeers)] {
		fmt.Fprintf(w, "      - %q\n", id)
	}
	if len(l.IDs) > maxPrivatePeers {
		fmt.Fprintf(w, "The others do not fit: a sentry takes %d.\n", maxPrivatePeers)
	}
}
