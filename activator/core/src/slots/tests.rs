mod links;
mod simulation;
