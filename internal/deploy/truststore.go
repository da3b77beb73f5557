package deploy

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"time"
	"unicode/utf16"
)

// javaStore writes certificates as a Java key store (JKS), the one form of
// trust store that every Java since 1.2 reads. The format is a magic number, a
// version, the entries and a SHA-1 over a password, a fixed phrase and all of
// it; here the password is Java's usual one.
func javaStore(certPEM []byte, at time.Time) ([]byte, error) {
	var certs [][]byte
	for block, rest := pem.Decode(certPEM); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			certs = append(certs, block.Bytes)
		}
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate to put into the Java trust store")
	}
	store := binary.BigEndian.AppendUint32(nil, 0xFEEDFEED)
	store = binary.BigEndian.AppendUint32(store, 2)
	store = binary.BigEndian.AppendUint32(store, uint32(len(certs)))
	for i, der := range certs {
		store = binary.BigEndian.AppendUint32(store, 2) // a trusted certificate
		store = appendJavaString(store, "reprise"+string(rune('a'+i)))
		store = binary.BigEndian.AppendUint64(store, uint64(at.UnixMilli()))
		store = appendJavaString(store, "X.509")
		store = binary.BigEndian.AppendUint32(store, uint32(len(der)))
		store = append(store, der...)
	}
	digest := sha1.New()
	for _, unit := range utf16.Encode([]rune("changeit")) {
		digest.Write([]byte{byte(unit >> 8), byte(unit)})
	}
	digest.Write([]byte("Mighty Aphrodite"))
	digest.Write(store)
	return digest.Sum(store), nil
}

func appendJavaString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}
