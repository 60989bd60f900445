-- What stays are the roles, who is a member of them, and their USAGE of the schema: other databases
-- of the server may use them and a DBA may have granted them. They see nothing here any more.
DROP POLICY IF EXISTS users_of_email ON users;
DROP POLICY IF EXISTS tasks_of_user ON tasks;
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE users DISABLE ROW LEVEL SECURITY;
ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tasks DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON tasks FROM taskapi_user;
REVOKE ALL ON users FROM taskapi_login;
DROP FUNCTION IF EXISTS current_user_id();
