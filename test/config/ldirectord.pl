#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# ldirectord.pl LDIRECTORD
#
# Reads each configuration file named on standard input with the code of the program LDIRECTORD itself, and prints what it
# made of it: a line of JSON for each file, with the services and settings, or with the message of its refusal. Loading the
# program takes longer than reading hundreds of files, hence all in one process.
use JSON::PP;

my $program = shift;
open(my $source, "<", $program) or die "$program: $!";
my $code = do { local $/; <$source> };
# All but its main part; to exit is to say so.
$code =~ s/^# command line options\n.*?^# functions\n/my (\$opt_d, \$opt_h, \$opt_v) = ("", "", "");\n/ms
	or die "$program: its main part is not where it should be";
$code =~ s/CORE::exit\(/die("EXIT\\n", / or die "$program: its exit is not where it should be";
$code =~ s/^__END__.*//ms;
{
	no strict;
	no warnings;
	local $SIG{__WARN__} = sub { };
	eval "$code; 1" or die "$program: $@";
}
no warnings;
*main::ld_log = sub { 0 };
# Nobody is asked for names: a name that is none of this machine's may take long.
my $getaddrinfo = \&main::getaddrinfo;
*main::getaddrinfo = sub { $_[0] =~ /[g-z]/i && $_[0] !~ /:|^0x/ && lc($_[0]) ne "localhost" ? () : $getaddrinfo->(@_) };

my $json = JSON::PP->new->canonical->latin1->allow_nonref->allow_unknown->allow_blessed;
while (my $file = <STDIN>) {
	chomp $file;
	($main::CONFIG, $main::CFGNAME, $main::RUNPID) = ($file, "test", "/nonexistent/ldirectord");
	$main::DAEMON_STATUS = $main::DAEMON_STATUS_STARTING;
	$main::HOSTNAME = "director.example";
	my $said = "";
	open(my $stderr, ">&", \*STDERR);
	close(STDERR);
	open(STDERR, ">", \$said);
	my $read = eval { main::read_config(); main::ld_setup(); 1 };
	my $failure = $@;
	close(STDERR);
	open(STDERR, ">&", $stderr);
	close(main::CFGFILE);
	die "$file: $failure" if !$read && $failure !~ /^EXIT/;
	my @virtuals = map {
		my %virtual = %$_;
		delete $virtual{flags};
		\%virtual;
	} @main::VIRTUAL;
	print $json->encode({
		file => $file,
		accepted => $read ? JSON::PP::true : JSON::PP::false,
		said => $said,
		virtuals => \@virtuals,
		execute => [sort keys %main::LD_INSTANCE],
		globals => {
			autoreload => $main::AUTOCHECK, callback => $main::CALLBACK, checkcount => $main::CHECKCOUNT,
			checkinterval => $main::CHECKINTERVAL, cleanstop => $main::CLEANSTOP, emailalert => $main::EMAILALERT,
			emailalertfreq => $main::EMAILALERTFREQ, emailalertfrom => $main::EMAILALERTFROM,
			emailalertstatus => $main::EMAILALERTSTATUS, failurecount => $main::FAILURECOUNT,
			fallback => $main::FALLBACK, fallback6 => $main::FALLBACK6, fallbackcommand => $main::FALLBACKCOMMAND,
			fork => $main::FORKING, logfile => $main::LDIRLOG, maintenancedir => $main::MAINTDIR,
			quiescent => $main::QUIESCENT, readdquiescent => $main::READDQUIESCENT, smtp => $main::SMTP,
			supervised => $main::SUPERVISED,
		},
	}), "\n";
}
