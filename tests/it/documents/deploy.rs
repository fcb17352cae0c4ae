//! The way from an empty project is as short as it is said to be.

use super::{page, root, shells};

#[test]
fn a_deployment_takes_as_many_commands_and_decisions_as_it_says() {
    let readme = page("terraform/README.md");
    let told = |what: &str| {
        let row = readme
            .text
            .lines()
            .find(|line| line.starts_with(&format!("| {what} |")));
        let digits: String = row.unwrap().chars().filter(char::is_ascii_digit).collect();
        digits.parse::<usize>().unwrap()
    };
    let [in_readme, in_how_to] = [
        ("terraform/README.md", "From an empty project"),
        ("docs/how-to/deploy-on-cloud-run.md", "Deploy"),
    ]
    .map(|(path, section)| {
        let page = page(path);
        let block = shells(&page).find(|block| block.section == section).unwrap();
        block.commands()
    });
    assert_eq!(in_readme, in_how_to);
    assert_eq!(in_readme.len(), told("commands"));
    assert!(in_readme.len() <= 4, "{in_readme:?}");

    // The settings before the first empty line of what one copies and edits.
    let example = std::fs::read_to_string(root().join("terraform/terraform.tfvars.example")).unwrap();
    let decisions = example.lines().take_while(|line| !line.is_empty());
    let decisions = decisions.filter(|line| !line.starts_with('#')).count();
    assert_eq!(decisions, told("decisions"));
    assert!(decisions <= 3);
}
