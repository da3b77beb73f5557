package redact

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// keyKind is what the name of a field says about its value.
type keyKind uint8

const (
	keyPlain keyKind = iota
	keySecret
	keyToken // a secret unless the value is a short word
	keyName
	keyPhone
	keyCard
	keyNationalID
	keyBirth
	keyAddress
	keyVersion // never an address of a network
	keyPerson  // an object about a person: "name" inside it is a name
	keyBareName
)

// rule names the detector of a kind in the manifest.
func (k keyKind) rule() string {
	switch k {
	case keySecret, keyToken:
		return DetectCredential
	case keyName, keyBareName:
		return DetectName
	case keyPhone:
		return DetectPhone
	case keyCard:
		return DetectCard
	case keyNationalID:
		return DetectNationalID
	case keyBirth:
		return DetectBirth
	case keyAddress:
		return DetectAddress
	}
	return ""
}

// keyKinds maps normalised names. Names of credentials also match at the end
// of longer names; see secretEnds.
var keyKinds = func() map[string]keyKind {
	m := map[string]keyKind{}
	for kind, names := range map[keyKind]string{
		keySecret:     "pass pin pincode cvv cvc cvv2 cvc2 csc securitycode otp totp mfacode auth authorization proxyauthorization cookie setcookie credentials credential sid sessionid session phpsessid jsessionid connectsid aspnetsessionid signature sig hmac privatekey sshkey encryptionkey signingkey masterkey accesskeyid accesskey secretaccesskey xapikey apikey appkey authkey xauthkey subscriptionkey ocpapimsubscriptionkey xfunctionskey xamzsecuritytoken xcsrftoken passcode securityanswer recoverycode backupcode",
		keyToken:      "token jwt bearer assertion clientassertion nonce code_verifier codeverifier",
		keyName:       "firstname lastname fullname givenname familyname middlename surname maidenname forename fname lname cardholder cardholdername nameoncard accountholder accountholdername holdername customername username contactname recipientname patientname employeename buyername sellername passengername guestname billingname shippingname legalname realname ownername attentionto fathername mothername displayname",
		keyPhone:      "phone phonenumber phoneno telephone telephonenumber tel mobile mobilenumber mobilephone cell cellphone fax faxnumber msisdn whatsapp contactnumber homephone workphone dayphone eveningphone callerid",
		keyCard:       "pan cardnumber cardno ccnumber creditcard creditcardnumber ccnum primaryaccountnumber",
		keyNationalID: "ssn socialsecuritynumber socialsecurity nationalid nationalidnumber nationalinsurancenumber nino sin tin taxid taxnumber passport passportnumber passportno driverslicense drivinglicense driverlicensenumber licensenumber personalid personnummer cpf cnpj dni nie nif curp rfc pesel bsn aadhaar aadhar aadhaarnumber pannumber steuerid steueridentifikationsnummer sozialversicherungsnummer codicefiscale hetu identitynumber idcardnumber insurancenumber medicalrecordnumber mrn",
		keyBirth:      "dob dateofbirth birthdate birthday born bdate",
		keyAddress:    "street streetaddress streetname addressline1 addressline2 addressline address1 address2 addr1 addr2 line1 line2 street1 street2 housenumber postaladdress homeaddress mailingaddress",
		keyVersion:    "version useragent appversion build firmware sdkversion xversion secchua",
		keyPerson:     "customer user person contact recipient sender shipping billing shippingaddress billingaddress shipto billto owner patient employee member guest passenger accountholder cardholder buyer payer payee beneficiary attendee author assignee student applicant driver client profile account holder",
		keyBareName:   "name",
	} {
		for name := range strings.FieldsSeq(names) {
			m[name] = kind
		}
	}
	// Some names say both; the value's own name wins over its use as a parent.
	m["cardholder"], m["accountholder"] = keyName, keyName
	return m
}()

// secretEnds are ends of normalised names whose values are credentials.
var secretEnds = []string{"password", "passwd", "passphrase", "pwd", "secret", "apikey", "secretkey", "privatekey", "accesskey", "sessionid", "credentials"}

// notTokens are names that end in token and hold none, or one that only tells
// where a list goes on.
const notTokens = " maxtoken nexttoken pagetoken nextpagetoken continuationtoken cursortoken prevtoken synctoken stoptoken "

// keyCache remembers kinds by the name as it was written. Names come from
// traffic, so it is bounded; it is copied when it grows, so that looking up
// takes no lock.
type keyCache struct {
	mu    sync.Mutex
	kinds atomic.Pointer[map[string]keyKind]
}

const keyCacheSize = 2048

func newKeyCache() *keyCache {
	c := &keyCache{}
	c.kinds.Store(&map[string]keyKind{})
	return c
}

// kind returns what a name says about its value; the name is as it stands in
// JSON.
func (c *keyCache) kind(key string) keyKind {
	k, ok := (*c.kinds.Load())[key]
	if ok || len(key) > 64 {
		return k
	}
	k = kindOfKey(unquote(key))
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.kinds.Load()
	if len(old) < keyCacheSize {
		grown := maps.Clone(old)
		grown[strings.Clone(key)] = k
		c.kinds.Store(&grown)
	}
	return k
}

// ofPerson reports whether a field of this name is one that only people have.
func ofPerson(key string) bool {
	switch kindOfKey(key) {
	case keyName, keyBirth, keyNationalID:
		return true
	}
	return len(key) <= 64 && isMail(key)
}

// isMail reports whether a field of this name holds an e-mail address.
func isMail(key string) bool {
	norm := normalise(key)
	return strings.HasSuffix(norm, "email") || norm == "emailaddress" || norm == "mail"
}

func kindOfKey(key string) keyKind {
	if len(key) > 64 {
		return keyPlain
	}
	norm := normalise(key)
	if k, ok := keyKinds[norm]; ok {
		return k
	}
	for _, end := range secretEnds {
		if strings.HasSuffix(norm, end) {
			return keySecret
		}
	}
	if strings.HasSuffix(norm, "token") && !strings.Contains(notTokens, " "+norm+" ") {
		return keyToken
	}
	for _, x := range []string{"phone", "phonenumber", "mobilenumber"} {
		if strings.HasSuffix(norm, x) {
			return keyPhone
		}
	}
	for _, x := range []string{"firstname", "lastname", "surname", "cardnumber"} {
		if strings.HasSuffix(norm, x) {
			return keyKinds[x]
		}
	}
	return keyPlain
}

// normalise brings accessToken, access_token and Access-Token to one form.
func normalise(key string) string {
	out := make([]byte, 0, len(key))
	for i := range len(key) {
		c := key[i]
		switch {
		case c >= 'A' && c <= 'Z':
			out = append(out, c+'a'-'A')
		case c == '_' || c == '-' || c == '.' || c == ' ' || c == '[' || c == ']' || c == '$' || c == '@':
		default:
			out = append(out, c)
		}
	}
	return string(out)
}
