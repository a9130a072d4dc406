#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# ldirectord.pl LDIRECTORD ARGUMENT ...
#
# Runs the program LDIRECTORD with a table in memory in place of the kernel's IPVS, and with tenths of seconds in place of
# seconds in its sleeps. What ipvsadm would be called for is done here, as ipvsadm 1.31 and the kernel do it; every change
# goes to the file $IPVSADM_TABLE, and what that holds at the start is there. A line of the table: a service (key,
# scheduler, timeout, netmask, one-packet, flags), or one of its real servers, behind a tab (address, forwarding, weight,
# upper and lower threshold).
package Table;
use strict;
use warnings;

my $file = $ENV{IPVSADM_TABLE} or die "IPVSADM_TABLE is not set\n";
my %schedulers = map { $_ => 1 } qw(rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos);
my %flags = map { $_ => 1 } qw(sh-fallback sh-port mh-fallback mh-port flag-1 flag-2 flag-3);

my (%services, @order);

sub load {
	open(my $table, "<", $file) or return;
	my $service;
	while (my $line = <$table>) {
		chomp $line;
		if ($line =~ s/^\t//) {
			my ($address, @rest) = split / /, $line;
			push @{$service->{order}}, $address;
			$service->{reals}{$address} = \@rest;
		} else {
			my ($key, @rest) = split / /, $line;
			push @order, $key;
			$service = $services{$key} = { settings => \@rest, reals => {}, order => [] };
		}
	}
}

sub save {
	open(my $table, ">", "$file.new") or die "$file.new: $!\n";
	for my $each (@order) {
		print $table join(" ", $each, @{$services{$each}{settings}}), "\n";
		print $table "\t", join(" ", $_, @{$services{$each}{reals}{$_}}), "\n" for @{$services{$each}{order}};
	}
	close($table) or die "$file.new: $!\n";
	rename("$file.new", $file) or die "$file: $!\n";
}

sub refuse { die "ipvsadm: $_[0]\n" }

sub endpoint {
	my ($text) = @_;
	$text =~ /^(?:(\d+)\.(\d+)\.(\d+)\.(\d+)|\[([0-9A-Fa-f:]+)\]):(\d+)$/ or refuse("illegal address: $text");
	refuse("illegal address: $text") if defined $1 && grep { $_ > 255 } $1, $2, $3, $4;
	refuse("illegal port: $text") if $6 > 65535;
	return $6;
}

# One call; returns what it prints, and dies with what is wrong.
sub ipvsadm {
	my @words = @_;
	my $output = "";
	my ($command, $key, $port, $six, $real, $forward) = ("", undef, 0, 0, undef, "gate");
	my ($scheduler, $timeout, $mask, $ops, $given) = ("wlc", 0, "-", 0, "-");
	my ($weight, $upper, $lower, $thresholds) = (1, 0, 0, 0);
	while (defined(my $word = shift @words)) {
		if ($word =~ /^-([LAEDaed])$/) { $command = $1 }
		elsif ($word eq "-n") { }
		elsif ($word eq "--thresholds") { $thresholds = 1 }
		elsif ($word eq "-t") { $key = shift @words; $port = endpoint($key); $key = "tcp:$key" }
		elsif ($word eq "-u") { $key = shift @words; $port = endpoint($key); $key = "udp:$key" }
		elsif ($word eq "-f") {
			my $mark = shift @words;
			refuse("illegal fwmark: $mark") unless $mark =~ /^\d+$/ && $mark > 0 && $mark < 2**32;
			$key = "fwm:" . ($mark + 0);
		}
		elsif ($word eq "-6") { $six = 1 }
		elsif ($word eq "-s") { $scheduler = shift @words }
		elsif ($word eq "-p") {
			$timeout = shift @words;
			refuse("illegal timeout") unless $timeout =~ /^\d+$/ && $timeout >= 1 && $timeout <= 31 * 24 * 3600;
			$timeout += 0;
		}
		elsif ($word eq "-M") {
			$mask = shift @words;
			$mask = "-" if $mask =~ /^(255\.255\.255\.255|128)$/;
		}
		elsif ($word eq "-o") { $ops = 1 }
		elsif ($word eq "-b") {
			$given = shift @words;
			for my $flag (split /,/, $given) { refuse("unknown flag") unless $flags{$flag} }
		}
		elsif ($word eq "-r") { $real = shift @words; endpoint($real) }
		elsif ($word eq "-g") { $forward = "gate" }
		elsif ($word eq "-i") { $forward = "ipip" }
		elsif ($word eq "-m") { $forward = "masq" }
		elsif ($word eq "-w") {
			$weight = shift @words;
			refuse("illegal weight") unless $weight =~ /^\d+$/ && $weight <= 65535;
			$weight += 0;
		}
		elsif ($word eq "-x") { $upper = (shift @words) + 0 }
		elsif ($word eq "-y") { $lower = (shift @words) + 0 }
		else { refuse("unknown argument: $word") }
	}

	if ($command eq "L") {
		$output .= "IP Virtual Server version 1.2.1 (size=4096)\n";
		$output .= "Prot LocalAddress:Port Scheduler Flags\n";
		$output .= "  -> RemoteAddress:Port\n";
		my %words = (gate => "Route", ipip => "Tunnel", masq => "Masq");
		for my $each (@order) {
			my ($protocol, $address) = split /:/, $each, 2;
			my $family = $protocol eq "fwm6" ? " IPv6" : "";
			$protocol =~ s/6$//;
			my ($scheduler, $timeout, $mask) = @{$services{$each}{settings}};
			$output .= join "", uc($protocol), "  $address$family $scheduler";
			$output .= join "", " persistent $timeout" if $timeout;
			$output .= join "", " mask $mask" if $timeout && $mask ne "-";
			$output .= join "", "\n";
			for my $address (@{$services{$each}{order}}) {
				my ($forward, $weight, $upper, $lower) = @{$services{$each}{reals}{$address}};
				$output .= join "", "  -> $address   ", $thresholds ? "$upper $lower 0 0" : "$words{$forward} $weight 0 0", "\n";
			}
		}
		return $output;
	}

	refuse("a service is missing") unless defined $key;
	$key =~ s/^fwm:/fwm6:/ if $six;
	my $service = $services{$key};
	if ($command eq "A" || $command eq "E") {
		refuse("Service already exists") if $command eq "A" && $service;
		refuse("No such service") if $command eq "E" && !$service;
		refuse("Zero port specified for non-persistent service") if $key !~ /^fwm/ && $port == 0 && !$timeout;
		refuse("Scheduler or persistence engine not found") unless $schedulers{$scheduler};
		push @order, $key unless $service;
		$services{$key} //= { reals => {}, order => [] };
		$services{$key}{settings} = [$scheduler, $timeout, $mask, $ops, $given];
	} else {
		refuse("No such service") unless $service;
		if ($command eq "D") {
			delete $services{$key};
			@order = grep { $_ ne $key } @order;
		} else {
			refuse("a real server is missing") unless defined $real;
			# Only masquerading changes ports. To delete is to name the entry as it is.
			$real =~ s/:\d+$/:$port/ if $key !~ /^fwm/ && $command ne "d" && $forward ne "masq";
			my $known = $service->{reals}{$real};
			refuse("Destination already exists") if $command eq "a" && $known;
			refuse("No such destination") if $command ne "a" && !$known;
			if ($command eq "d") {
				delete $service->{reals}{$real};
				$service->{order} = [grep { $_ ne $real } @{$service->{order}}];
			} else {
				refuse("lower threshold is higher than upper threshold") if $upper < $lower;
				refuse("Invalid argument") if $real =~ /^(0|22[4-9]|23\d|255\.255\.255\.255)\./;
				push @{$service->{order}}, $real unless $known;
				$service->{reals}{$real} = [$forward, $weight, $upper, $lower];
			}
		}
	}
	save();
	return $output;
}

# The exit status of a command line, as system returns it.
sub run {
	my $done = eval { ipvsadm(split " ", $_[0]); 1 };
	print STDERR $@ unless $done;
	return $done ? 0 : 256;
}

package main;

BEGIN {
	*CORE::GLOBAL::sleep = sub { select(undef, undef, undef, $_[0] / 10); $_[0] };
	*CORE::GLOBAL::system = sub { $_[0] =~ m{^\S*/ipvsadm (.*)} ? Table::run($1) : CORE::system(@_) };
}

my $program = shift;
open(my $source, "<", $program) or die "$program: $!";
my $code = do { local $/; <$source> };
close($source);
$code =~ s/open\(\$fh, "\$IPVSADM ([^"]*) 2>&1\|"\)/open(\$fh, "<", \\Table::ipvsadm(split " ", "$1"))/g == 2
	or die "$program: the table is not read where it should be";
$code =~ s/^__END__.*//ms;
Table::load();
$0 = $program;
no strict;
no warnings;
eval "$code; 1" or die $@;
