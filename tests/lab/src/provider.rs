//! An identity provider of others' making, as a child process on loopback: Glewlwyd.

use crate::visitor::{Answer, full, send};
use crate::{LOOPBACK, until};
use http::Request;
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use serde_json::{Value, json};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command as Run, Stdio};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

pub const CLIENT: &str = "doorward";
pub const SECRET: &str = "a-secret-between-the-two";

pub struct Provider {
    address: SocketAddr,
    /// Of its own administrator.
    session: Option<String>,
    _child: Child,
    _folder: TempDir,
}

/// Somebody's browser at the provider.
pub struct Visitor<'p> {
    provider: &'p Provider,
    session: Option<String>,
}

impl Provider {
    /// With one client, whose browsers come back to this address.
    pub async fn start(back: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port();
        let database = folder.path().join("provider.db");
        let schema = fs::File::open("/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3").unwrap();
        assert!(Run::new("sqlite3").arg(&database).stdin(schema).status().unwrap().success());
        let settings = format!(
            "port={port}\nbind_address=\"127.0.0.1\"\nexternal_url=\"http://127.0.0.1:{port}\"\nlogin_url=\"login.html\"\napi_prefix=\"api\"\n\
             log_mode=\"console\"\nlog_level=\"ERROR\"\nsession_key=\"session\"\nsession_expiration=3600\nlogin_api_enabled=true\n\
             admin_session_authentication=\"cookie\"\nprofile_session_authentication=\"cookie\"\nadmin_scope=\"g_admin\"\nprofile_scope=\"g_profile\"\n\
             user_module_path=\"/usr/lib/glewlwyd/user\"\nclient_module_path=\"/usr/lib/glewlwyd/client\"\n\
             user_auth_scheme_module_path=\"/usr/lib/glewlwyd/scheme\"\nplugin_module_path=\"/usr/lib/glewlwyd/plugin\"\n\
             hash_algorithm=\"SHA512\"\ndatabase={{ type=\"sqlite3\"; path=\"{}\"; }};\n",
            database.display()
        );
        let file = folder.path().join("provider.conf");
        fs::write(&file, settings).unwrap();
        let mut run = Command::new("glewlwyd");
        run.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = run.spawn().expect("glewlwyd is installed");
        let address = SocketAddr::new(LOOPBACK, port);
        until("the provider listens", async || TcpStream::connect(address).await.is_ok()).await;
        let mut provider = Self { address, session: None, _child: child, _folder: folder };
        let mut administrator = provider.visitor();
        administrator.sign_in("admin", "password").await;
        provider.session = administrator.session;
        provider.arrange(back).await;
        provider
    }

    pub fn issuer(&self) -> String {
        format!("http://{}/api/oidc", self.address)
    }

    async fn arrange(&self, back: &str) {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let parameters = json!({
            "iss": self.issuer(), "jwt-type": "rsa", "jwt-key-size": "256", "key": key.serialize_pem(), "cert": key.public_key_pem(),
            "access-token-duration": 3600, "refresh-token-duration": 3600, "code-duration": 60, "allow-non-oidc": false,
            "auth-type-code-enabled": true, "auth-type-id-token-enabled": true, "pkce-allowed": true, "allowed-scope": ["openid"],
            "name-claim": "mandatory",
            "claims": [{ "name": "preferred_username", "user-property": "username", "type": "string", "mandatory": true }],
        });
        let plugin = json!({ "module": "oidc", "name": "oidc", "display_name": "oidc", "enabled": true, "parameters": parameters });
        self.administer("POST", "/api/mod/plugin/", &plugin).await;
        let client = json!({
            "client_id": CLIENT, "name": "Doorward", "confidential": true, "client_secret": SECRET, "redirect_uri": [back],
            "authorization_type": ["code"], "scope": ["openid"], "enabled": true,
            "token_endpoint_auth_method": ["client_secret_basic"],
        });
        self.administer("POST", "/api/client/", &client).await;
    }

    pub async fn add_user(&self, name: &str, title: &str, password: &str) {
        let user = json!({
            "username": name, "name": title, "email": format!("{name}@school.test"), "password": password, "scope": ["openid"],
            "enabled": true,
        });
        self.administer("POST", "/api/user/", &user).await;
    }

    /// Somebody is nobody there any more.
    pub async fn end_user(&self, name: &str) {
        self.administer("PUT", &format!("/api/user/{name}"), &json!({ "enabled": false, "scope": ["openid"] })).await;
    }

    async fn administer(&self, method: &str, path: &str, body: &Value) {
        let answer = self.ask(method, path, self.session.as_deref(), &body.to_string()).await;
        assert!(answer.status.is_success(), "{method} {path}: {} {}", answer.status, answer.text());
    }

    async fn ask(&self, method: &str, path: &str, session: Option<&str>, body: &str) -> Answer {
        let mut asked = Request::builder().method(method).uri(path).header("host", self.address.to_string());
        asked = asked.header("content-type", "application/json");
        if let Some(session) = session {
            asked = asked.header("cookie", format!("session={session}"));
        }
        send(self.address, asked.body(full(body.to_owned())).unwrap()).await
    }

    pub fn visitor(&self) -> Visitor<'_> {
        Visitor { provider: self, session: None }
    }
}

impl Visitor<'_> {
    /// As its login page does. `false`: it does not let them in.
    pub async fn sign_in(&mut self, name: &str, password: &str) -> bool {
        let given = json!({ "username": name, "password": password }).to_string();
        let answer = self.ask("POST", "/api/auth/", &given).await;
        answer.status.is_success()
    }

    /// Lets the client know who they are.
    pub async fn consent(&mut self) -> bool {
        self.ask("PUT", &format!("/api/auth/grant/{CLIENT}"), r#"{"scope": "openid"}"#).await.status.is_success()
    }

    /// Follows a URL that leads here; where it leads on to in the end. What is asked there is answered with "continue".
    pub async fn follow(&mut self, url: &str) -> String {
        let base = format!("http://{}", self.provider.address);
        let path = url.strip_prefix(&base).unwrap_or_else(|| panic!("{url} does not lead to {base}")).to_owned();
        for path in [path.clone(), format!("{path}&g_continue")] {
            let answer = self.ask("GET", &path, "").await;
            let to = answer.headers.get("location").map(|to| to.to_str().unwrap().to_owned());
            match to {
                Some(to) if to.contains("/login.html") => {}
                Some(to) => return to,
                None => panic!("{path}: {} {}", answer.status, answer.text()),
            }
        }
        "the login page".to_owned()
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> Answer {
        let answer = self.provider.ask(method, path, self.session.as_deref(), body).await;
        for value in answer.headers.get_all("set-cookie") {
            let pair = value.to_str().unwrap().split(';').next().unwrap_or_default();
            if let Some(("session", session)) = pair.split_once('=') {
                self.session = Some(session.to_owned());
            }
        }
        answer
    }
}
