//! `chandlery node`

use chandlery_wire::NodeName;
use chandlery_wire::api::{Node, NodeList, PlaceNode, StackList};
use clap::Subcommand;

use super::written::minute;
use crate::client::Path;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::table::Table;
use crate::output::{self, FormatArg};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A node is a machine by its host name, with its region. A Swarm service says where it runs by
  CHANDLERY_NODE: \"{{.Node.Hostname}}\"
and gets on each node the bundle of that node's region: one service, one stack file.
Example:
  chandlery node add vm-1 --region eu-west-1")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Register machines in a region, or move them to it.
    Add {
        /// Host names, exactly as the machines tell them (`docker node ls`).
        #[arg(required = true)]
        names: Vec<NodeName>,
        #[command(flatten)]
        format: FormatArg,
    },
    /// The machines in the regions that you reach.
    List {
        #[command(flatten)]
        format: FormatArg,
    },
    /// One machine and its region.
    Show {
        name: NodeName,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Take a machine out, and revoke the tokens that are bound to it.
    Rm {
        name: NodeName,
        #[command(flatten)]
        format: FormatArg,
    },
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    match &args.action {
        Action::Add { names, format } => {
            let missing = || {
                let hint = "name it with --region, as in `chandlery node add vm-1 --region eu-west-1`";
                Failure::usage("it is not said which region the node is in", hint)
            };
            let region = context.region().ok_or_else(missing)?;
            let mut nodes = Vec::new();
            for name in names {
                let place = PlaceNode { region: region.clone() };
                nodes.push(client.put(&Path::new(&["nodes", name.as_str()]), &place)?);
            }
            // A machine may be there before its region is declared; a typo looks the same, so it is told.
            let declared = client.get(&Path::new(&["stacks"])).is_ok_and(|list: StackList| {
                let environments = list.stacks.iter().flat_map(|stack| &stack.environments);
                environments.flat_map(|environment| &environment.regions).any(|known| known == region)
            });
            if !declared {
                output::note(&format!("note: no environment that you see has a region {region} yet"));
            }
            format.print(&NodeList { nodes }, table)
        }
        Action::List { format } => {
            let list: NodeList = client.get(&Path::new(&["nodes"]))?;
            format.print(&list, table)
        }
        Action::Show { name, format } => {
            let node: Node = client.get(&Path::new(&["nodes", name.as_str()]))?;
            format.print(&node, |node| table(&NodeList { nodes: vec![node.clone()] }))
        }
        Action::Rm { name, format } => {
            let node: Node = client.delete(&Path::new(&["nodes", name.as_str()]))?;
            let revoked = match &node.revoked_tokens[..] {
                [] => String::new(),
                tokens => format!("; revoked with it: {}", tokens.join(", ")),
            };
            output::note(&format!("{name} is no longer a node{revoked}"));
            format.print(&node, |_| String::new())
        }
    }
}

fn table(list: &NodeList) -> String {
    let mut table = Table::new(&["NODE", "REGION", "SINCE", "BY"]);
    for Node { name, region, since, author, .. } in &list.nodes {
        table.row(vec![name.to_string(), region.to_string(), minute(since), author.clone()]);
    }
    table.for_stdout()
}
