mod asking;
mod links;
mod simulation;
