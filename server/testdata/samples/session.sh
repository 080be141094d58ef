# The guide's commands: register, log in, use the token, refresh it, make a key, use it, list, revoke, log out.
# In place of "/api/compression/stats", which is its product's, there is a call that every server has.
URL=$1 ACCOUNT=$2
member() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

REGISTERED=$(curl -sS --fail-with-body -X POST $URL/api/auth/register \
-H "Content-Type: application/json" \
-d '{
"email": "user@example.com",
"password": "SecureP@ssw0rd!",
"name": "John Doe"
}')
echo "registered $REGISTERED"

LOGIN=$(curl -sS --fail-with-body -X POST $URL/api/auth/login \
-H "Content-Type: application/json" \
-d '{
"email": "user@example.com",
"password": "SecureP@ssw0rd!"
}')
YOUR_JWT_TOKEN=$(member access_token <<<"$LOGIN")
echo "used $(curl -sS --fail-with-body -H "Authorization: Bearer $YOUR_JWT_TOKEN" \
$URL/api/auth/me)"

REFRESHED=$(curl -sS --fail-with-body -X POST $URL/api/auth/refresh \
-H "Content-Type: application/json" \
-d '{
"refresh_token": "'"$(member refresh_token <<<"$LOGIN")"'"
}')
YOUR_JWT_TOKEN=$(member access_token <<<"$REFRESHED")
echo "refreshed $REFRESHED"

# Deviation: the account, because the owner sees several. The date was in the past.
KEY=$(curl -sS --fail-with-body -X POST $URL/api/keys \
-H "Authorization: Bearer $YOUR_JWT_TOKEN" \
-H "Content-Type: application/json" \
-d '{
"account": "'$ACCOUNT'",
"name": "Production Server",
"expires_at": "2125-01-08T00:00:00Z"
}')
ID=$(sed 's/{"id":"\([^"]*\)".*/\1/' <<<"$KEY")
API_KEY=$(member key <<<"$KEY")
echo "created $KEY"
echo "called $(curl -sS --fail-with-body -H "X-API-Key: $API_KEY" \
$URL/api/auth/me)"
echo "listed $(curl -sS --fail-with-body $URL/api/keys \
-H "Authorization: Bearer $YOUR_JWT_TOKEN")"
echo "revoked $(curl -sS --fail-with-body -X DELETE $URL/api/keys/$ID \
-H "Authorization: Bearer $YOUR_JWT_TOKEN")"
echo "called again $(curl -sS -w '%{http_code}' -H "X-API-Key: $API_KEY" \
$URL/api/auth/me)"

echo "logged out $(curl -sS --fail-with-body -X POST $URL/api/auth/logout \
-H "Authorization: Bearer $YOUR_JWT_TOKEN")"
echo "used again $(curl -sS -w '%{http_code}' -H "Authorization: Bearer $YOUR_JWT_TOKEN" \
$URL/api/auth/me)"
