resource "small_server" "good" {
  for_each = var.hosts

  name = each.key
  size = "s"

  dynamic "disk" {
    for_each = [10]

    content {
      gb = disk.value
    }
  }
}

resource "small_server" "bad" {
  name    = small_server.good["a"].adress
  sizes   = small_server.good[var.which].ips
  zone    = data.small_images.all.named
  labels  = { of = small_server.good[var.which].address }
  address = "192.0.2.1"

  disk {
    gb     = 10
    colour = "red"
  }

  disc {}
}

resource "small_thing" "bad" {}

data "small_images" "all" {}

data "small_things" "bad" {}
