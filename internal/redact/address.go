package redact

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// pseudonymDomain is the domain of the pseudonyms of e-mail addresses, below
// a top level that RFC 2606 keeps free.
const pseudonymDomain = "redacted.example"

// email returns the pseudonym of an address. Case does not count, as no
// service tells addresses apart by it.
func (p *pseudonyms) email(address string) string {
	lower := strings.ToLower(address)
	if isEmailPseudonym(lower) {
		return address
	}
	return p.cached("email", lower, func(s *stream) string { return "user-" + s.letters(10) + "@" + pseudonymDomain })
}

func isEmailPseudonym(address string) bool {
	local, domain, ok := strings.Cut(address, "@")
	return ok && domain == pseudonymDomain && strings.HasPrefix(local, "user-")
}

// ip returns the pseudonym of a public address: in 240.0.0.0/4, which nobody
// has, or in 2001:db8::/32, which is for documentation. Addresses that tell
// nothing outside their own network stay.
func (p *pseudonyms) ip(text string) string {
	addr, err := netip.ParseAddr(text)
	if err != nil || !isPublic(addr) {
		return text
	}
	addr = addr.Unmap()
	return p.cached("ip", addr.String(), func(s *stream) string {
		if addr.Is4() {
			return netip.AddrFrom4([4]byte{240 + byte(s.below(15)), s.byte(), s.byte(), 1 + byte(s.below(254))}).String()
		}
		out := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		for i := 4; i < 16; i++ {
			out[i] = s.byte()
		}
		return netip.AddrFrom16(out).String()
	})
}

var reservedNets = func() []netip.Prefix {
	var nets []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"2001:db8::/32", "64:ff9b::/96", "100::/64",
	} {
		nets = append(nets, netip.MustParsePrefix(s))
	}
	return nets
}()

func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	if a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return false
	}
	for _, n := range reservedNets {
		if n.Contains(a) {
			return false
		}
	}
	return true
}

// ssn returns the pseudonym of a US social security number: 9, with a group
// that neither such numbers nor taxpayer numbers use.
func (p *pseudonyms) ssn(text string) string {
	digits := onlyDigits(text)
	if digits[0] == '9' && digits[3] == '1' {
		return text
	}
	return fillDigits(text, p.cached("ssn", digits, func(s *stream) string {
		return string([]byte{'9', s.digit(), s.digit(), '1', s.digit(), s.digit(), s.digit(), s.digit(), s.digit()})
	}))
}

// iban returns the pseudonym of an account number: country, length, spacing,
// and which places are letters stay; the check digits are right. The account
// starts with zeros (and X for letters), as none does.
func (p *pseudonyms) iban(text string) string {
	plain := strings.ToUpper(strings.ReplaceAll(text, " ", ""))
	if isIBANPseudonym(plain) {
		return text
	}
	made := p.cached("iban", plain, func(s *stream) string {
		out := []byte(plain)
		for i := 4; i < len(out); i++ {
			letter := !isDigit(out[i])
			switch {
			case i < 8 && letter:
				out[i] = 'X'
			case i < 8:
				out[i] = '0'
			case letter:
				out[i] = 'A' + byte(s.below(26))
			default:
				out[i] = s.digit()
			}
		}
		rest := 98 - mod97(string(out[4:])+string(out[:2])+"00")
		binary.BigEndian.PutUint16(out[2:], uint16('0'+rest/10)<<8|uint16('0'+rest%10))
		return string(out)
	})
	out := []byte(text)
	n := 0
	for i, c := range out {
		if c != ' ' {
			out[i] = made[n]
			n++
		}
	}
	return string(out)
}

func isIBANPseudonym(plain string) bool {
	return strings.Trim(plain[4:8], "0X") == ""
}

// ibanLengths holds the length of each country's account numbers.
var ibanLengths = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24,
	"DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
	"HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
	"LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
	"QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29,
	"VA": 22, "VG": 24, "XK": 20,
}

// isIBAN reports whether plain, without spaces and in capitals, is an account
// number with right check digits.
func isIBAN(plain string) bool {
	return len(plain) >= 15 && ibanLengths[plain[:2]] == len(plain) && isDigit(plain[2]) && isDigit(plain[3]) && mod97(plain[4:]+plain[:4]) == 1
}

func mod97(s string) int {
	n := 0
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c):
			n = (n*10 + int(c-'0')) % 97
		case c >= 'A' && c <= 'Z':
			n = (n*100 + int(c-'A') + 10) % 97
		default:
			return -1
		}
	}
	return n
}

func itoa(n int) string {
	if n < 10 {
		return string([]byte{'0' + byte(n)})
	}
	return itoa(n/10) + itoa(n%10)
}
