# Makes the calls of the conformance test with http.client and prints what came.
import http.client, json, sys, hashlib

host, port = sys.argv[1].split(":")
conn = http.client.HTTPConnection(host, int(port), timeout=20)
for call in json.load(sys.stdin):
    conn.request(call["method"], call["target"], body=call.get("body"), headers=call.get("header", {}))
    answer = conn.getresponse()
    body = answer.read()
    fields = sorted([k.lower(), v] for k, v in answer.getheaders())
    print(json.dumps([call["method"], call["target"], answer.status, fields, len(body), hashlib.sha256(body).hexdigest()]))
