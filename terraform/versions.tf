terraform {
  # 1.9: a variable's validation may look at other variables.
  required_version = ">= 1.9"

  required_providers {
    google = {
      source = "hashicorp/google"
      # 7.44: before it, services and dashboards had differences in every plan that came from the provider itself.
      version = ">= 7.44, < 9.0"
    }
  }
}
