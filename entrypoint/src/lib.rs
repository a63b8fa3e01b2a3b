//! `chandlery-entrypoint`: a container's ENTRYPOINT.
//!
//! It places secret files, injects variables, waits for what the app needs, and becomes the app. After the exec nothing
//! of it is left: no process, no memory, no file descriptor, no variable of its own.

mod cache;
mod config;
mod environ;
mod exec;
mod failure;
mod fetch;
mod files;
#[cfg(fuzzing)]
pub mod fuzzing;
mod http;
mod report;
mod sys;
mod tls;
mod user;
mod wait;
mod watch;

use std::ffi::OsString;

use config::{Config, Request};
use failure::Failure;

/// The program: what `main` does, and all that it does.
pub fn run() {
    sys::end_on_signals();
    let core_limit = sys::forbid_dumps();
    if let Some(arguments) = wait::compat::asked(std::env::args_os()) {
        return end(wait::compat::run(arguments, std::env::vars_os().collect(), core_limit));
    }
    end(match Config::read(std::env::args_os(), std::env::vars_os()) {
        Ok(Request::Print(text)) => report::print(&text),
        Ok(Request::Explain(config)) => explain(&config),
        Ok(Request::Beside(command)) => beside(&command, core_limit),
        Ok(Request::Start(config)) => start(*config, core_limit),
        Err(failure) => Err(failure),
    });
}

fn end(outcome: Result<(), Failure>) {
    if let Err(failure) = outcome {
        failure.report_and_exit();
    }
}

/// Everything there is to it. It comes back only when it failed, and then the files it placed are gone again.
fn start(mut config: Config, core: sys::CoreLimit) -> Result<(), Failure> {
    if config.json {
        failure::speak_json();
    }
    let user = user::find(&config)?;
    if let Some(user) = &user {
        user.move_in(&mut config);
    }
    // A thread that follows the bundle has it until the process ends.
    let (config, user): (&'static Config, _) = (Box::leak(Box::new(config)), user.as_ref());
    // What is wrong with the waiting and the watching is found out now, but for what the bundle says about it.
    wait::Plan::read(&|name| config.inherited(name), &config.wait)?;
    config.watch.as_ref().map_or(Ok(()), |watch| watch::check(watch, user))?;
    let fetched = fetch::bundle(config).or_else(|failure| cache::instead(config, failure))?;
    report::stale(&fetched.bundle);
    let files = match &config.watch {
        Some(_) => Files::MayChange(files::Sets::first(&fetched.bundle.files, config, user)?),
        None => Files::Stay(files::place(&fetched.bundle.files, config, user)?),
    };
    let environment = environ::build(config, &fetched.bundle)?;
    if let Some(body) = &fetched.body {
        cache::keep(config, body);
    }
    if config.verbose {
        report::summary(config, &fetched.bundle, &environment);
    }
    let plan = wait::Plan::read(&|name| environment.find(name).or_else(|| config.inherited(name)), &config.wait)?;
    wait::for_plan(&plan.without_repetition(), config.json)?;
    match (&config.watch, files) {
        (Some(watch), Files::MayChange(files)) => {
            let app = watch::App { user, core, files };
            std::process::exit(watch::run(config, watch, app, fetched, environment)?)
        }
        (_, _placed) => Err(exec::exec_as(user, &config.command, &environment, core)),
    }
}

/// What a start placed, for as long as it may have to go again.
enum Files<'a> {
    Stay(#[expect(dead_code, reason = "it is only ever dropped")] files::Placed<'a>),
    MayChange(files::Sets<'a>),
}

/// Shows what a start would get, and starts nothing.
fn explain(config: &Config) -> Result<(), Failure> {
    let bundle = fetch::bundle(config)?.bundle;
    report::stale(&bundle);
    let environment = environ::build(config, &bundle)?;
    report::print(&report::table(config, &bundle, &environment))
}

/// Becomes a command in the environment of the app that runs already.
fn beside(command: &[OsString], core_limit: sys::CoreLimit) -> Result<(), Failure> {
    let environment = environ::of_app()?;
    Err(exec::exec(command, &environment, core_limit))
}
