# Makes the calls of the conformance test with one of Python's clients and
# prints what came: client.py http.client|urllib|requests ORIGIN < CALLS
# SSL_CERT_FILE names who signs for an origin of https.
import hashlib, http.client, json, os, sys

module, origin = sys.argv[1:]
scheme, address = origin.split("://")
host, port = address.split(":")


def by_http_client(calls):
    connection = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    conn = connection(host, int(port), timeout=20)
    for call in calls:
        conn.request(call["method"], call["target"], body=call.get("body"), headers=call.get("header", {}))
        answer = conn.getresponse()
        try:
            body = answer.read()
        except http.client.IncompleteRead as e:
            body = b"breaks off after " + e.partial
            conn.close()
        yield call, answer.status, answer.getheaders(), body


def by_urllib(calls):
    import urllib.error, urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args):
            return None

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay)
    for call in calls:
        data = call["body"].encode() if "body" in call else None
        request = urllib.request.Request(f"{origin}{call['target']}", data=data, headers=call.get("header", {}), method=call["method"])
        try:
            answer = opener.open(request, timeout=20)
        except urllib.error.HTTPError as e:
            answer = e
        try:
            body = answer.read()
        except http.client.IncompleteRead as e:
            body = b"breaks off after " + e.partial
        yield call, answer.status, answer.headers.items(), body


def by_requests(calls):
    import requests

    session = requests.Session()
    session.trust_env = False
    session.verify = os.environ.get("SSL_CERT_FILE")
    for call in calls:
        url = f"{origin}{call['target']}"
        answer = session.request(call["method"], url, data=call.get("body"), headers=call.get("header"), allow_redirects=False, timeout=20, stream=True)
        try:
            body = b"".join(answer.raw.stream(65536, decode_content=False))
            left = answer.raw.length_remaining
            if left and call["method"] != "HEAD":  # older ones do not tell
                body = b"breaks off after " + body
                session.close()  # urllib3 would use the connection again until it sees its end
        except Exception as e:
            body = type(e).__name__.encode()
            session.close()
        yield call, answer.status_code, answer.raw.headers.items(), body


client = {"http.client": by_http_client, "urllib": by_urllib, "requests": by_requests}[module]
for call, status, fields, body in client(json.load(sys.stdin)):
    fields = sorted([k.lower(), v] for k, v in fields)
    print(json.dumps([call["method"], call["target"], status, fields, len(body), hashlib.sha256(body).hexdigest()]))
