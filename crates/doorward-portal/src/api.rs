//! The REST API. Keys are in kebab-case, times in RFC 3339, unknown keys are refused. Each route names its action, and
//! `core::authority` says who may do that.

pub(crate) mod adding;
mod alerts;
pub(crate) mod approvals;
mod audit;
mod authority;
mod client_certificates;
pub(crate) mod devices;
mod events;
mod foresight;
mod groups;
pub(crate) mod inspecting;
pub(crate) mod invites;
mod knock_keys;
mod line;
pub(crate) mod people;
mod person_data;
pub(crate) mod services;
pub(crate) mod session_reach;
pub(crate) mod sessions;
mod shares;
mod site;
mod ssh;
mod ssh_certificates;
mod ssh_passwords;
pub(crate) mod status;
mod tokens;
mod upkeep;
pub(crate) mod welcomes;

use crate::PortalState;
use crate::acting::Acting;
use crate::builds::Builds;
use crate::idempotent::answer_once;
use crate::routes::Routes;
use axum::middleware::from_fn_with_state;
use axum::{Extension, Json, Router};
use doorward_core::authority::Action;
use http::Method;
use serde_json::Value;

const GET: &Method = &Method::GET;
const POST: &Method = &Method::POST;
const PUT: &Method = &Method::PUT;
const PATCH: &Method = &Method::PATCH;
const DELETE: &Method = &Method::DELETE;

/// Whoever serves it says who asks, by a [`Caller`](crate::caller::Caller).
pub(crate) fn router(state: &PortalState) -> Router<PortalState> {
    let once = from_fn_with_state(state.clone(), answer_once);
    routes().into_router().layer(once).layer(Extension(events::Watchers::default())).layer(Extension(Builds::default()))
}

/// All of them, with their description.
pub(crate) fn routes() -> Routes {
    let routes = of_certificates(of_people(of_sessions(of_inspecting(of_adding(of_devices(Routes::new()))))));
    of_shares(of_the_gateway(of_audit(of_ssh(of_welcomes(routes)))))
}

fn of_devices(routes: Routes) -> Routes {
    use Action::*;
    let preview = "/services/{device}/{service}/access/preview";
    let (access, released) = ("/services/{device}/{service}/access", "/reservations/services/{device}/{service}");
    routes
        .add(ListDevices, GET, "/devices", "Devices and how they are linked, by name", devices::list)
        .add(EditDevice, PATCH, "/devices/{name}", "Gives a device another name or title", devices::edit)
        .add(RevokeDevice, POST, "/devices/{name}/revoke", "Refuses a device from now on", devices::revoke)
        .add(ReplaceDevice, POST, "/devices/{name}/replace", "An invite to take a device's place", devices::replace)
        .add(ShowDeviceLog, GET, "/devices/{name}/log", "The end of its agent's log, asked for now", upkeep::log)
        .add(RestartDevice, POST, "/devices/{name}/restart", "Has its agent start anew", upkeep::restart)
        .add(ListInvites, GET, "/invites", "Invites, the newest first", invites::list)
        .add(CreateInvite, POST, "/invites", "Makes an invite; its text is told this once", invites::create)
        .add(RevokeInvite, DELETE, "/invites/{id}", "Takes an invite back", invites::revoke)
        .add(ListServices, GET, "/services", "Services, by device and name", services::list)
        .add(ShowService, GET, "/services/{device}/{service}", "One service", services::show)
        .add(SetAccess, PUT, access, "Says who may use a service", services::set_access)
        .add(
            PreviewAccess,
            POST,
            preview,
            "What another policy would answer, and whom it would cut",
            foresight::preview,
        )
        .add(GiveAccessBack, DELETE, access, "Lets the device say again who may use it", services::give_access_back)
        .add(ReleaseHost, DELETE, "/reservations/hosts/{host}", "Frees a name", services::release_host)
        .add(ReleasePort, DELETE, "/reservations/ports/{protocol}/{port}", "Frees a port", services::release_port)
        .add(ReleaseService, DELETE, released, "Forgets a service that is offered no more", services::release_service)
}

fn of_adding(routes: Routes) -> Routes {
    use Action::*;
    let (additions, scan) = ("/devices/{name}/additions", "/devices/{name}/scan");
    let addition = "/devices/{name}/additions/{service}";
    routes
        .add(ListBuilds, GET, "/builds", "Programs that devices can fetch here", adding::builds)
        .add(ListAdditions, GET, additions, "What a device may be asked to offer, and what it was", adding::list)
        .add(AddService, POST, additions, "Wishes for a service on a device, which has the last word", adding::add)
        .add(RemoveAddition, DELETE, addition, "Takes a wish back and cuts its service", adding::remove)
        .add(ShowScan, GET, scan, "What a device found around it that it could offer", adding::scan)
        .add(ScanDevice, POST, scan, "Has a device look around; that takes a minute or two", adding::ask_for_scan)
}

fn of_inspecting(routes: Routes) -> Routes {
    use Action::*;
    let inspection = "/services/{device}/{service}/inspection";
    let replay = "/services/{device}/{service}/inspection/{number}/replay";
    routes
        .add(ShowInspection, GET, inspection, "The last requests, while they are looked at", inspecting::show)
        .add(Inspect, PUT, inspection, "Looks at the requests to a service for a while", inspecting::begin)
        .add(StopInspecting, DELETE, inspection, "Stops looking and forgets what was seen", inspecting::stop)
        .add(ReplayRequest, POST, replay, "Sends a request that was seen once more, as oneself", inspecting::replay)
}

fn of_sessions(routes: Routes) -> Routes {
    use Action::*;
    let (people, line) = ("/services/{device}/{service}/people", "/services/{device}/{service}/line");
    routes
        .add(PreviewPeople, GET, people, "Who would be let in now, and why not", sessions::who)
        .add(ListSessions, GET, "/sessions", "Sessions, the newest first", sessions::list)
        .add(OpenSession, POST, "/sessions", "Opens a service for a while, or extends what is open", sessions::open)
        .add(EndSession, DELETE, "/sessions/{id}", "Ends a session and cuts what came by it", sessions::end)
        .add(ExtendSession, POST, "/sessions/{id}/extend", "Extends an open session", sessions::extend)
        .add(NoteSource, POST, "/sessions/{id}/sources", "Its person comes from here, too", session_reach::from_here)
        .add(ShowLine, GET, line, "Who has a service that one person has at a time, and who waits", line::show)
        .add(LeaveLine, DELETE, &format!("{line}/{{person}}"), "Gives a place in the line up", line::leave)
        .add(ListRequests, GET, "/approvals", "Sessions that wait for consent, by number", approvals::list)
        .add(AnswerByLink, POST, "/approvals/by-link", "Answers a request by a link", approvals::by_link)
        .add(ApproveRequest, POST, "/approvals/{id}/approve", "Opens what was asked for", approvals::approve)
        .add(RefuseRequest, POST, "/approvals/{id}/refuse", "Says no to a request", approvals::refuse)
        .add(LinkRequest, POST, "/approvals/{id}/link", "A link to answer by, told this once", approvals::link)
}

fn of_shares(routes: Routes) -> Routes {
    use Action::*;
    routes
        .add(ListShares, GET, "/shares", "Share links and who looks, the newest first", shares::list)
        .add(MakeShare, POST, "/shares", "A link by which anybody comes to a service, told this once", shares::make)
        .add(RevokeShare, DELETE, "/shares/{id}", "Takes a share link back and cuts who came by it", shares::revoke)
}

fn of_people(routes: Routes) -> Routes {
    use Action::*;
    routes
        .add(ListPeople, GET, "/people", "People, by name", people::list)
        .add(AddPerson, POST, "/people", "Makes an account", people::add)
        .add(EditPerson, PATCH, "/people/{name}", "Changes an account", people::edit)
        .add(RemovePerson, DELETE, "/people/{name}", "Removes an account", people::remove)
        .add(ExportPerson, GET, "/people/{name}/data", "All that is known of somebody", person_data::show)
        .add(ListGroups, GET, "/groups", "Groups and who is in them, by name", groups::list)
        .add(AddGroup, POST, "/groups", "Makes a group", groups::add)
        .add(EditGroup, PATCH, "/groups/{name}", "Changes a group", groups::edit)
        .add(RemoveGroup, DELETE, "/groups/{name}", "Removes a group", groups::remove)
        .add(ListTokens, GET, "/tokens", "API tokens, the newest first", tokens::list)
        .add(MakeToken, POST, "/tokens", "Makes an API token, told this once", tokens::make)
        .add(RevokeToken, DELETE, "/tokens/{id}", "Takes an API token back", tokens::revoke)
        .add(ListKnockKeys, GET, "/knock-keys", "Keys by which people knock, the newest first", knock_keys::list)
        .add(MakeKnockKey, POST, "/knock-keys", "Makes a knock key, told this once", knock_keys::make)
        .add(RemoveKnockKey, DELETE, "/knock-keys/{id}", "Has a knock key open nothing any more", knock_keys::remove)
}

fn of_certificates(routes: Routes) -> Routes {
    use Action::*;
    let (all, one) = ("/client-certificates", "/client-certificates/{id}");
    let made = "Makes a client certificate; its key and password are told this once";
    routes
        .add(ListClientCertificates, GET, all, "Client certificates, the newest first", client_certificates::list)
        .add(MakeClientCertificate, POST, all, made, client_certificates::make)
        .add(RevokeClientCertificate, DELETE, one, "Takes a client certificate back", client_certificates::revoke)
}

fn of_welcomes(routes: Routes) -> Routes {
    use Action::*;
    let link = "A link by which somebody sets a new password, told this once";
    routes
        .add(LinkPerson, POST, "/people/{name}/link", link, welcomes::link)
        .add(ImportPeople, POST, "/people/import", "Adds everybody of a list, or nobody", welcomes::import)
        .add(MakeOwnerLink, POST, "/owner-link", "A link for an owner who is locked out", welcomes::owner_link)
        .add(ListInvitations, GET, "/invitations", "Invitations of people, the newest first", welcomes::list)
        .add(InvitePeople, POST, "/invitations", "A link by which people come in, told this once", welcomes::invite)
        .add(RevokeInvitation, DELETE, "/invitations/{id}", "Takes an invitation back", welcomes::revoke)
}

fn of_audit(routes: Routes) -> Routes {
    use Action::*;
    routes
        .add(ListAudit, GET, "/audit", "Who did what, the newest first", audit::list)
        .add(CopyAudit, GET, "/audit/part", "A part of the audit's chain, the oldest first", audit::part)
        .add(VerifyAudit, GET, "/audit/verify", "Whether all lines are as they were written", audit::verify)
        .add(ListAlerts, GET, "/alerts", "Who is told when something happens, by name", alerts::list)
        .add(TestAlerts, POST, "/alerts/test", "Sends a test to all of them, and says what came of it", alerts::test)
}

fn of_ssh(routes: Routes) -> Routes {
    use Action::*;
    let certificate = "/ssh-certificates/{serial}";
    routes
        .add(ListSshKeys, GET, "/ssh-keys", "SSH keys, and passwords as if they were keys", ssh::list)
        .add(AddSshKeys, POST, "/ssh-keys", "Gives SSH keys to a person or device", ssh::add)
        .add(RemoveSshKey, DELETE, "/ssh-keys/{fingerprint}", "Refuses an SSH key from now on", ssh::remove)
        .add(MakeSshPassword, POST, "/ssh-passwords", "Makes a password by SSH, told this once", ssh_passwords::make)
        .add(ShowSshHostKeys, GET, "/ssh-host-keys", "What the gateway shows to SSH clients", ssh::host_keys)
        .add(ListSshCertificates, GET, "/ssh-certificates", "Certificates of people", ssh_certificates::list)
        .add(CertifySshKey, POST, "/ssh-certificates", "Signs a person's SSH key", ssh_certificates::certify)
        .add(RevokeSshCertificate, DELETE, certificate, "Takes a certificate back", ssh_certificates::revoke)
        .add(ShowSshAuthority, GET, "/ssh-authority", "Who signs certificates of people", ssh_certificates::authority)
}

fn of_the_gateway(routes: Routes) -> Routes {
    use Action::*;
    routes
        .add(DescribeApi, GET, "/openapi.json", "This description", describe)
        .add(WatchEvents, GET, "/events", "What changes, as it changes", events::watch)
        .add(ShowStatus, GET, "/status", "How the gateway is", status::show)
        .add(PrepareSuccessor, POST, "/site-key/successor", "Makes the next site key", site::prepare_successor)
        .add(ActivateSuccessor, POST, "/site-key/activate", "Uses the next site key", site::activate_successor)
        .add(ShowAuthority, GET, "/authority", "The gateway's own certificate authority", authority::show)
        .or_missing()
        .add(RenewAuthority, POST, "/authority/renew", "Makes another one in its place", authority::renew)
        .add(Backup, POST, "/backup", "Writes a backup on the gateway's machine", site::backup)
}

async fn describe(Acting(state): Acting) -> Json<Value> {
    Json(routes().document(state.release))
}
