-- Sets the passwords of the two roles that log in. Run once, when compose.yaml's database is created.
\set owner_password `cat /run/secrets/owner_password`
\set service_password `cat /run/secrets/service_password`
ALTER ROLE taskapi_owner PASSWORD :'owner_password';
ALTER ROLE taskapi PASSWORD :'service_password';
