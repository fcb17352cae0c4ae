terraform {
  # 1.11: arguments that only write, by which Qdrant's key gets into Secret Manager and into no state.
  required_version = ">= 1.11"

  required_providers {
    google = {
      source = "hashicorp/google"
      # 7.44: before it, services and dashboards had differences in every plan that came from the provider itself.
      version = ">= 7.44, < 9.0"
    }
  }
}
