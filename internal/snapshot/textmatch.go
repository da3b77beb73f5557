package snapshot

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// appendMatch writes how the mock answered; recordings have none.
func appendMatch(dst []byte, m *traffic.Match) []byte {
	if m == nil {
		return dst
	}
	dst = fmt.Appendf(dst, "match: %s %s %d %s\n", token(string(m.Tier)), token(m.Record), m.Pass, token(m.Reason))
	for _, n := range m.Nearest {
		dst = fmt.Appendf(dst, "near: %s %s\n", token(n.Record), strconv.FormatFloat(n.Score, 'g', -1, 64))
		for _, d := range n.Differences {
			dst = fmt.Appendf(dst, "differs: %s %s %s\n", token(d.Path.String()), token(d.Recorded), token(d.Live))
		}
	}
	return dst
}

func parseMatch(s string) (*traffic.Match, error) {
	parts, err := tokens(s)
	if err != nil {
		return nil, err
	}
	if len(parts) != 4 {
		return nil, errors.New("match needs a tier, a record, a pass and a reason")
	}
	pass, err := strconv.ParseUint(parts[2], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("pass %q is not a number", parts[2])
	}
	return &traffic.Match{Tier: traffic.Tier(parts[0]), Record: parts[1], Pass: uint32(pass), Reason: parts[3]}, nil
}

func parseNear(s string, m *traffic.Match) error {
	parts, err := tokens(s)
	if err != nil {
		return err
	}
	if m == nil || len(parts) != 2 {
		return errors.New("near needs a match before it, a record and a score")
	}
	score, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return fmt.Errorf("score %q is not a number", parts[1])
	}
	m.Nearest = append(m.Nearest, traffic.Near{Record: parts[0], Score: score})
	return nil
}

func parseDiffers(s string, m *traffic.Match) error {
	parts, err := tokens(s)
	if err != nil {
		return err
	}
	if m == nil || len(m.Nearest) == 0 || len(parts) != 3 {
		return errors.New("differs needs a near before it, a path and two values")
	}
	path, err := traffic.ParsePath(parts[0])
	if err != nil {
		return err
	}
	last := &m.Nearest[len(m.Nearest)-1]
	last.Differences = append(last.Differences, traffic.Disagreement{Path: path, Recorded: parts[1], Live: parts[2]})
	return nil
}
