//! The services that a command line names: declared ones, to be acquired; and any, to be looked at.

use crate::config::{self, Config, Scope, ServiceConfig, Values};
use crate::declare::{self, Need, Paths, key};
use crate::folders::{self, Folders};
use crate::names::{Identity, RUN_IDS, Whereabouts, may_be_full};
use crate::progress;
use crate::sys;
use procref::blocking::{ServiceHandle, SharedService};
use procref::observe::Observed;
use procref::{ServiceInfo, ServiceState, StopLadder};
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// `--scope`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ScopeOption {
    /// Who shares the services that are named, and those that they need, whatever is declared.
    #[arg(long)]
    pub(crate) scope: Option<Scope>,
}

/// All that is known of services here.
#[derive(Debug)]
pub(crate) struct Services {
    config: Config,
    whereabouts: Whereabouts,
    folders: Folders,
    /// Instead of what is declared.
    scope: Option<Scope>,
    /// A run that begins here.
    new_run: Option<String>,
}

/// A declared service.
#[derive(Debug)]
pub(crate) struct Declared<'a> {
    pub(crate) config: &'a ServiceConfig,
    pub(crate) identity: Identity,
}

/// A declared service that can be acquired.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) config: ServiceConfig,
    pub(crate) identity: Identity,
    pub(crate) shared: SharedService,
    /// It and what it needs, by their full names: they may be started by this process.
    keeps: BTreeMap<String, Keep>,
    folders: Folders,
}

/// What procref keeps for a service.
#[derive(Clone, Debug)]
struct Keep {
    folder: PathBuf,
    /// Its log is there, too.
    logs: bool,
    scope: Scope,
}

/// A service as it is looked at, declared or not.
#[derive(Debug)]
pub(crate) struct Named<'a> {
    pub(crate) declared: Option<Declared<'a>>,
    pub(crate) observed: Observed,
}

impl Services {
    /// What the nearest procref.toml and the user's own declare.
    ///
    /// # Errors
    ///
    /// All that is wrong with the files.
    pub(crate) fn here(scope: ScopeOption) -> Result<Self> {
        Self::of(config::load(&here()?)?, scope)
    }

    /// This one service alone, wherever it is declared.
    pub(crate) fn alone(config: ServiceConfig, scope: ScopeOption) -> Result<Self> {
        let services = BTreeMap::from([(config.name.clone(), config)]);
        Self::of(Config { services, files: Vec::new() }, scope)
    }

    fn of(config: Config, ScopeOption { scope }: ScopeOption) -> Result<Self> {
        let whereabouts =
            Whereabouts { project: config::project(&here()?), run: Whereabouts::run_of(|name| std::env::var_os(name)) };
        Ok(Self { config, whereabouts, folders: Folders::here()?, scope, new_run: None })
    }

    /// Begins a run where there is none.
    pub(crate) fn with_a_run(mut self) -> Self {
        if self.whereabouts.run.is_none() {
            self.new_run = Some(Whereabouts::new_run());
            self.whereabouts.run.clone_from(&self.new_run);
        }
        self
    }

    /// What a command has to be told to be in the same run.
    pub(crate) fn new_run(&self) -> Option<(&'static str, &str)> {
        Some((RUN_IDS[0], self.new_run.as_deref()?))
    }

    pub(crate) fn folders(&self) -> &Folders {
        &self.folders
    }

    /// The present project's folder.
    pub(crate) fn project(&self) -> Option<&Path> {
        self.whereabouts.project.as_deref()
    }

    fn identity(&self, config: &ServiceConfig) -> Result<Identity> {
        Ok(self.whereabouts.identity(config, self.scope.unwrap_or(config.scope))?)
    }

    /// The declared service of this name, its own or its full one.
    fn declared(&self, name: &str) -> Result<Option<Declared<'_>>> {
        if let Some(config) = self.config.services.get(name) {
            return Ok(Some(Declared { config, identity: self.identity(config)? }));
        }
        // One that cannot be here is not the one that is meant.
        let mut all = self.config.services.values().filter_map(|config| Some((config, self.identity(config).ok()?)));
        let found = all.find(|(_, identity)| identity.full == name);
        Ok(found.map(|(config, identity)| Declared { config, identity }))
    }

    /// The declared service whose full name this is.
    pub(crate) fn declared_as(&self, full: &str) -> Option<Declared<'_>> {
        self.declared(full).ok().flatten().filter(|declared| declared.identity.full == full)
    }

    /// A service to be acquired, with all that it needs.
    ///
    /// # Errors
    ///
    /// It is not declared, or cannot be here.
    pub(crate) fn service(&self, name: &str) -> Result<Service> {
        let Some(Declared { config, identity }) = self.declared(name)? else {
            return Err(self.unknown(name));
        };
        let mut built = BTreeMap::new();
        let shared = self.build(config, &identity, &mut built)?;
        let keeps = built.into_iter().map(|(full, (_, keep))| (full, keep)).collect();
        Ok(Service { config: config.clone(), identity, shared, keeps, folders: self.folders.clone() })
    }

    fn build(
        &self,
        config: &ServiceConfig,
        identity: &Identity,
        built: &mut BTreeMap<String, (SharedService, Keep)>,
    ) -> Result<SharedService> {
        if let Some((shared, _)) = built.get(&identity.full) {
            return Ok(shared.clone());
        }
        let mut needs = Vec::new();
        for name in &config.needs {
            let config = self.config.service(name)?;
            needs.push(Need { config, shared: self.build(config, &self.identity(config)?, built)? });
        }
        let shared = declare::shared(config, identity, &self.folders, &needs)
            .map_err(|error| format!("`{}` cannot be a service: {error}", config.name))?;
        let keep = Keep {
            folder: self.folders.of_service(&identity.full)?,
            logs: config.log.is_none(),
            scope: identity.scope,
        };
        built.insert(identity.full.clone(), (shared.clone(), keep));
        Ok(shared)
    }

    /// A service to be looked at: a declared one, or any by its full name.
    ///
    /// # Errors
    ///
    /// There is none of this name.
    pub(crate) fn named(&self, name: &str) -> Result<Named<'_>> {
        let named = self.named_even_if_unknown(name)?;
        if named.declared.is_none() && !may_be_full(name) && named.observed.status()?.state == ServiceState::Stopped {
            return Err(self.unknown(name));
        }
        Ok(named)
    }

    /// The same, for who may ask for a service before there is any of this name.
    ///
    /// # Errors
    ///
    /// No service can have this name.
    pub(crate) fn named_even_if_unknown(&self, name: &str) -> Result<Named<'_>> {
        let declared = self.declared(name)?;
        let full = declared.as_ref().map_or(name, |declared| &declared.identity.full);
        let observed = self.folders.look_at(Observed::new(full)?);
        Ok(Named { declared, observed })
    }

    fn unknown(&self, name: &str) -> Box<dyn Error + Send + Sync> {
        match self.config.service(name) {
            Err(unknown) => unknown.into(),
            Ok(_) => format!("there is no service `{name}`").into(),
        }
    }
}

impl Named<'_> {
    /// As people call it here.
    pub(crate) fn name(&self) -> &str {
        self.declared.as_ref().map_or(self.observed.name(), |declared| &declared.identity.name)
    }

    /// The same for who is about to stop it, and how that is done.
    ///
    /// # Errors
    ///
    /// There is nowhere to keep its files.
    pub(crate) fn to_be_stopped(&self, folders: &Folders) -> Result<(Observed, StopLadder)> {
        let Some(Declared { config, identity }) = &self.declared else {
            // One of another folder says by itself how it is declared there.
            let info = self.observed.status().ok().and_then(|status| status.info);
            let published = info.as_ref().and_then(declare::published_ladder);
            return Ok((self.observed.clone(), published.unwrap_or_default()));
        };
        let observed = match declare::stopping(config, identity, folders)? {
            Some(command) => self.observed.clone().command(command),
            None => self.observed.clone(),
        };
        Ok((observed, declare::ladder(config)))
    }

    /// The log of what runs, else of what is declared.
    ///
    /// # Errors
    ///
    /// Nobody knows of one.
    pub(crate) fn log(&self, folders: &Folders) -> Result<PathBuf> {
        let running = self.observed.status()?.info;
        if let Some(log) = running.as_ref().and_then(|info| info.get(key::LOG)) {
            return Ok(PathBuf::from(log));
        }
        match &self.declared {
            Some(Declared { config, identity }) => Ok(Paths::of(config, identity, folders)?.log),
            // One that was declared elsewhere.
            None => Ok(folders.of_service(self.observed.name())?.join(folders::LOG)),
        }
    }
}

impl Folders {
    /// Looks for a service's hints where this user's environment says that they are.
    pub(crate) fn look_at(&self, service: Observed) -> Observed {
        match &self.runtime {
            Some(folder) => service.runtime_dir(folder),
            None => service,
        }
    }
}

impl Service {
    /// Takes a reference, and says on a terminal for how long that has been waited for.
    ///
    /// # Errors
    ///
    /// procref says why it cannot.
    pub(crate) fn acquire(&self) -> Result<ServiceHandle> {
        self.keeps.iter().try_for_each(|(full, keep)| self.make_room(full, keep))?;
        Ok(progress::while_waiting(&self.identity.name, "start-up", || self.shared.acquire())?)
    }

    /// Whoever starts it writes to its log, whose folder has to be there.
    fn make_room(&self, full: &str, keep: &Keep) -> Result<()> {
        let cannot = |error| format!("cannot make the folder {}: {error}", keep.folder.display());
        sys::make_private(&keep.folder).map_err(cannot)?;
        if keep.scope == Scope::Run {
            folders::note_run(&keep.folder).map_err(cannot)?;
        }
        let log = keep.folder.join(folders::LOG);
        if keep.logs && folders::is_long(&log) {
            let observed = self.folders.look_at(Observed::new(full)?);
            if observed.status()?.state == ServiceState::Stopped {
                folders::rotate(&log)
                    .map_err(|error| format!("cannot move the log {} away: {error}", log.display()))?;
            }
        }
        Ok(())
    }

    /// The numbers of its ports, by their names.
    pub(crate) fn ports(&self, info: &ServiceInfo) -> Result<BTreeMap<String, u16>> {
        let mut ports = BTreeMap::new();
        for (index, port) in self.config.ports.iter().enumerate() {
            let published = info.get(&port.name).and_then(|number| number.parse().ok());
            // The kernel itself keeps the first one.
            let kept = Some(info.port()).filter(|number| index == 0 && info.metadata_lost() && *number != 0);
            let number = published.or(kept).ok_or_else(|| self.differs(info, &format!("a port `{}`", port.name)))?;
            ports.insert(port.name.clone(), number);
        }
        Ok(ports)
    }

    /// Variables for a client.
    pub(crate) fn environment(&self, info: &ServiceInfo) -> Result<Vec<(String, OsString)>> {
        let ports = self.ports(info)?;
        let paths = Paths::of(&self.config, &self.identity, &self.folders)?;
        let uses_run = self.config.env.values().any(|text| text.placeholders().any(|p| *p == config::Placeholder::Run));
        let run = match info.get(key::RUN) {
            None if uses_run => return Err(self.differs(info, "a folder {run}").into()),
            run => PathBuf::from(run.unwrap_or_default()),
        };
        let state = info.get(key::STATE).map_or(paths.state, PathBuf::from);
        let values = Values { name: &self.config.name, state: &state, run: &run, ports: &ports };
        let variable = |(name, value): (&String, &config::Template)| Ok((name.clone(), value.render(&values)?));
        self.config.env.iter().map(variable).collect()
    }

    /// What runs is not what is declared here.
    fn differs(&self, info: &ServiceInfo, what: &str) -> String {
        let name = &self.identity.name;
        if info.metadata_lost() {
            let help =
                "what its clients are told was deleted from the runtime folder: end its clients and start it anew";
            return format!("`{name}` runs, but nobody knows {what} of it any more: {help}");
        }
        format!(
            "`{name}` runs, and was not started with {what}, which is declared by now: end its clients, or `procref stop --force \
             {name}`"
        )
    }
}

fn here() -> Result<PathBuf> {
    std::env::current_dir().map_err(|error| format!("cannot tell in which folder this is: {error}").into())
}
