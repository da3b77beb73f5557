package snapshot_test

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// varied makes n exchanges of the recorded example, over and over, as a
// service would see them on a long day: every round has other orders,
// customers, request ids, times and amounts, and the same catalogue.
func varied(t testing.TB, n int) []*traffic.Exchange {
	t.Helper()
	recorded := read(t, filepath.Join("..", "..", "snapshots", "shop"))
	span := recorded[len(recorded)-1].Start.Sub(recorded[0].Start)
	first := recorded[0].Start
	rng := rand.New(rand.NewPCG(3, 7))
	list := make([]*traffic.Exchange, 0, n)
	for round := 0; len(list) < n; round++ {
		v := variation{round: round}
		for _, x := range recorded[:min(len(recorded), n-len(list))] {
			shift := time.Duration(round) * (span + time.Second)
			list = append(list, v.exchange(x, first.Add(shift+x.Start.Sub(first)+time.Duration(rng.Int64N(2e6))), rng))
		}
	}
	return list
}

// variation replaces what differs from round to round, and equal values by
// equal ones.
type variation struct{ round int }

// volatile are ids (as UUIDs, hexadecimal, or behind a prefix), pseudonyms,
// times and amounts.
var volatile = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{16,}|(?:user|redacted)-[a-z0-9]{10,12}|20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+|"total":\d+|"quantity":\d+`)

func (v variation) text(s string) string {
	return volatile.ReplaceAllStringFunc(s, func(found string) string {
		h := fnv.New64a()
		h.Write(binary.AppendVarint([]byte(found), int64(v.round)))
		rng := rand.New(rand.NewPCG(h.Sum64(), 1))
		out := []byte(found)
		hex := found[0] != 'u' && found[0] != 'r'
		for i := len(out) - 1; i >= 0; i-- {
			switch c := out[i]; {
			case found[0] == '"' && c == ':':
				return string(out)
			case found[0] == '"', len(found) > 11 && found[10] == 'T' && i > 10 && c >= '0' && c <= '9':
				out[i] = byte('0' + rng.IntN(10))
				if i+1 == len(out) || out[i+1] < '0' {
					continue
				}
			case found[0] == '2' && len(found) > 11 && found[10] == 'T', c == '-', !hex && i < 9 && c != '-' && found[0] == 'r', !hex && i < 5:
			case hex:
				out[i] = "0123456789abcdef"[rng.IntN(16)]
			default:
				out[i] = "abcdefghijklmnopqrstuvwxyz234567"[rng.IntN(32)]
			}
		}
		return string(out)
	})
}

func (v variation) exchange(x *traffic.Exchange, start time.Time, rng *rand.Rand) *traffic.Exchange {
	c := x.Clone()
	rename := func(id string) string {
		kind, number, ok := cutLast(id)
		if !ok {
			return id
		}
		i, _ := strconv.Atoi(number)
		return fmt.Sprintf("%s-%06d", kind, v.round*1000+i)
	}
	jitter := func(d time.Duration) time.Duration { return d + time.Duration(rng.Int64N(int64(d)/4+1)) }
	c.ID, c.Lane, c.Start = rename(x.ID), traffic.Lane(rename(string(x.Lane))), start
	c.FirstByte = jitter(x.FirstByte)
	c.Duration = c.FirstByte + jitter(x.Duration-x.FirstByte)
	c.Origin.Connection = fmt.Sprintf("c%d", v.round*40+len(x.Origin.Connection))
	c.Request.Target = v.text(c.Request.Target)
	v.message(c.Request.Header, &c.Request.Body, start)
	if c.Response != nil {
		v.message(c.Response.Header, &c.Response.Body, start)
	}
	return c
}

func (v variation) message(h traffic.Header, b *traffic.Body, at time.Time) {
	if plain, err := b.Decoded(); err == nil && len(plain) > 0 {
		if made := v.text(string(plain)); made != string(plain) {
			if raw, err := traffic.Encode([]byte(made), b.Coding); err == nil {
				b.Raw, b.Size = raw, int64(len(raw))
			}
		}
	}
	for i, f := range h {
		switch http.CanonicalHeaderKey(f.Name) {
		case "Date":
			h[i].Value = at.UTC().Format(http.TimeFormat)
		case "Content-Length":
			h[i].Value = strconv.Itoa(len(b.Raw))
		case "User-Agent", "Authorization", "X-Api-Key":
		default:
			h[i].Value = v.text(f.Value)
		}
	}
}

func cutLast(id string) (kind, number string, ok bool) {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i] == '-' {
			return id[:i], id[i+1:], true
		}
	}
	return "", "", false
}
